/**
 * Records that cannot become a block are set aside as files, `<dir>/<tenant>/<log>-<offset>.otlp`,
 * each an ExportTraceServiceRequest: nothing that was acknowledged is thrown away.
 */
import { mkdir, open } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { SpoorError } from "#pkg/errors/errors.ts";

export interface QuarantinedRecord {
  tenant: string;
  /** appId of the log's partition, e.g. `<log id>/4/0`. */
  appId: string;
  offset: number;
  bytes: Uint8Array;
}

/** Writes a record durably; returns the file's path. Unavailable if the disk refuses. */
export async function quarantine(dir: string, record: QuarantinedRecord): Promise<string> {
  const name = `${record.appId.replaceAll("/", "-")}-${record.offset}.otlp`;
  const folder = join(dir, record.tenant);
  const path = join(folder, name);
  try {
    const made = await mkdir(folder, { recursive: true });
    await using file = await open(path, "w");
    await file.writeFile(record.bytes);
    await file.sync();
    for (const one of foldersUp(folder, made === undefined ? folder : dirname(made))) {
      await using handle = await open(one, "r");
      await handle.sync();
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `put a record into quarantine as ${path}: ${why}`;
    throw new SpoorError("Unavailable", message, { reason: "quarantine_failed", cause });
  }
  return path;
}

/** `from` and the folders above it up to `to`: a name is durable only with all of them. */
function foldersUp(from: string, to: string): string[] {
  const steps = relative(to, from).split(sep).filter(Boolean).length;
  const folders = [from];
  for (let i = 0; i < steps; i++) folders.push(dirname(folders[i]));
  return folders;
}
