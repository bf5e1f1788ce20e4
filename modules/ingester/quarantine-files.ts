/**
 * Files of records in quarantine: `<dir>/<tenant>/<log>-<N>-<i>-<offset>.otlp`, each an
 * ExportTraceServiceRequest. Acknowledged records are never deleted automatically.
 */
import { existsSync } from "node:fs";
import { mkdir, open, readdir, readFile, stat, unlink } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { SpoorError } from "#pkg/errors/errors.ts";
import { isTenantName } from "#pkg/tenant/tenant.ts";
import { type RecordFacts, recordFacts } from "./quarantine-facts.ts";

/** A record in quarantine. */
export interface AsideRecord {
  tenant: string;
  /** The file's name without its folder. */
  name: string;
  path: string;
  /** appId of the log's partition, e.g. `<log id>/4/0`, and the record's offset in it. */
  appId: string;
  offset: number;
  sizeBytes: number;
  /** When the file was written, milliseconds since the epoch. */
  atMs: number;
  /** Undefined if its bytes do not parse: it may contain any span. */
  facts: RecordFacts | undefined;
}

const namePattern = /^([0-9a-f]{32})-(\d+)-(\d+)-(\d+)\.otlp$/;

export function asideName(appId: string, offset: number): string {
  return `${appId.replaceAll("/", "-")}-${offset}.otlp`;
}

/** Reads a quarantine folder; records are ordered by tenant and name. Throws Unavailable. */
export async function readAside(dir: string): Promise<AsideRecord[]> {
  if (!existsSync(dir)) return [];
  const out: AsideRecord[] = [];
  try {
    for (const tenant of (await readdir(dir)).filter(isTenantName).sort()) {
      const folder = join(dir, tenant);
      for (const name of (await readdir(folder)).sort()) {
        const record = await readOne(tenant, join(folder, name), name);
        if (record !== undefined) out.push(record);
      }
    }
  } catch (cause) {
    throw quarantineError(`read quarantine ${dir}`, cause);
  }
  return out;
}

async function readOne(
  tenant: string,
  path: string,
  name: string,
): Promise<AsideRecord | undefined> {
  const parts = namePattern.exec(name);
  if (parts === null) return undefined;
  const [, logId, count, index, offset] = parts;
  const info = await stat(path);
  if (!info.isFile()) return undefined;
  return {
    tenant,
    name,
    path,
    appId: `${logId}/${count}/${index}`,
    offset: Number(offset),
    sizeBytes: info.size,
    atMs: info.mtimeMs,
    facts: await recordFacts(await readFile(path)),
  };
}

/** Writes a file and its directory entry durably. Throws the errors of node:fs. */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const folder = dirname(path);
  const made = await mkdir(folder, { recursive: true });
  await using file = await open(path, "w");
  await file.writeFile(bytes);
  await file.sync();
  for (const one of foldersUp(folder, made === undefined ? folder : dirname(made))) {
    await syncFolder(one);
  }
}

/** Removes a file durably; a missing file is no error. Throws the errors of node:fs. */
export async function removeDurably(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  await syncFolder(dirname(path));
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

export function quarantineError(attempt: string, cause: unknown): SpoorError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const message = `${attempt}: ${why}`;
  return new SpoorError("Unavailable", message, { reason: "quarantine_failed", cause });
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, "r");
  await handle.sync();
}

/** Returns `from` and its parents up to `to`: all must be synced to make a new file durable. */
function foldersUp(from: string, to: string): string[] {
  const steps = relative(to, from).split(sep).filter(Boolean).length;
  const folders = [from];
  for (let i = 0; i < steps; i++) folders.push(dirname(folders[i]));
  return folders;
}
