/**
 * Configuration from which any thread or process opens the span log. It is plain data, like that of
 * the bucket. The only kind of log is files in a folder; another kind is a new member of the union.
 */
import { openFileLog, type FileLogBounds, type LogParts } from "./file-log.ts";
import { openFileLogReader } from "./file-log-reader.ts";
import type { LogReader, SpanLog } from "./span-log.ts";

export interface FileLogConfig extends FileLogBounds {
  kind: "file";
  dir: string;
}

export type LogConfig = FileLogConfig;

/** Opens the log for appending, as its only owner. Throws the errors of the log's kind. */
export async function openSpanLog(config: LogConfig, parts: LogParts): Promise<SpanLog> {
  const { kind: _, dir, ...bounds } = config;
  return await openFileLog(dir, { ...bounds, ...parts });
}

/**
 * Opens one partition for reading, for the ingesters or for the named consumer. Throws NotFound if
 * it does not exist, and the errors of the log's kind.
 */
export function openSpanLogReader(
  { dir }: LogConfig,
  partition: number,
  consumer?: string,
): LogReader {
  return openFileLogReader(dir, partition, consumer);
}
