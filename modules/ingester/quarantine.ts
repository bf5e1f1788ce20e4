/**
 * Records that cannot become a block are set aside as files, `<dir>/<tenant>/<log>-<offset>.otlp`,
 * each an ExportTraceServiceRequest: nothing that was acknowledged is thrown away.
 */
import { mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";

export interface QuarantinedRecord {
  tenant: string;
  /** appId of the log's partition, e.g. `<log id>/4/0`. */
  appId: string;
  offset: number;
  bytes: Uint8Array;
}

/** Writes a record durably; returns the file's path. */
export async function quarantine(dir: string, record: QuarantinedRecord): Promise<string> {
  const name = `${record.appId.replaceAll("/", "-")}-${record.offset}.otlp`;
  const path = join(dir, record.tenant, name);
  await mkdir(dirname(path), { recursive: true });
  await using file = await open(path, "w");
  await file.writeFile(record.bytes);
  await file.sync();
  await using folder = await open(dirname(path), "r");
  await folder.sync();
  return path;
}
