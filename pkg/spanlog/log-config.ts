/**
 * How any thread or process opens the span log by itself: plain data, as of the bucket. Today a log
 * is always files of a folder; another kind is one more member here.
 */
import { openFileLog, type FileLogBounds, type LogParts } from "./file-log.ts";
import { openFileLogReader } from "./file-log-reader.ts";
import type { LogReader, SpanLog } from "./spanlog.ts";

export interface FileLogConfig extends FileLogBounds {
  kind: "file";
  dir: string;
}

export type LogConfig = FileLogConfig;

/** Opens the log to append to it, as its only owner. Errors: those of the log's kind. */
export async function openSpanLog(config: LogConfig, parts: LogParts): Promise<SpanLog> {
  const { kind: _, dir, ...bounds } = config;
  return await openFileLog(dir, { ...bounds, ...parts });
}

/**
 * Opens one partition to read it, for the ingesters or for the consumer that is named. Errors:
 * NotFound if it is not there, and those of the log's kind.
 */
export function openSpanLogReader(
  { dir }: LogConfig,
  partition: number,
  consumer?: string,
): LogReader {
  return openFileLogReader(dir, partition, consumer);
}
