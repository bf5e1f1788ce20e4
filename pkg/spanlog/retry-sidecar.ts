/**
 * The retry hashes of trimmed segments (FORMAT.md): `p<i>/<first offset>.ids`, one per trim that
 * removed segments, deleted when its newest entry is too old to count.
 */
import { readFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import { FORMAT_VERSION, readUint64, refuseNewer } from "./format.ts";
import { writeFileDurably, type LogFs } from "./log-fs.ts";
import { RETRY_ENTRY_BYTES } from "./retry-memory.ts";

const MAGIC = "SPOORIDS";
const HEADER_BYTES = 20;
const SIDECAR_NAME = /^\d{20}\.ids$/;

export interface Sidecar {
  name: string;
  /** Time of its newest entry, milliseconds since the epoch. */
  newestMs: number;
}

export function isSidecarName(name: string): boolean {
  return SIDECAR_NAME.test(name);
}

/** Durably writes the entries, which must not be empty. */
export async function writeSidecar(
  fs: LogFs,
  folder: string,
  firstOffset: number,
  entries: Buffer,
): Promise<Sidecar> {
  const bytes = Buffer.alloc(HEADER_BYTES + entries.length);
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt32LE(FORMAT_VERSION, 8);
  bytes.writeUInt32LE(entries.length / RETRY_ENTRY_BYTES, 12);
  entries.copy(bytes, HEADER_BYTES);
  bytes.writeUInt32LE(sidecarCrc(bytes), 16);
  const name = `${String(firstOffset).padStart(20, "0")}.ids`;
  await writeFileDurably(fs, folder, name, bytes);
  return { name, newestMs: newestMs(entries) };
}

/** The entries of a sidecar file and its newest time; undefined if it is damaged. */
export function readSidecar(
  folder: string,
  name: string,
): { entries: Buffer; newestMs: number } | undefined {
  const bytes = readFileSync(`${folder}/${name}`);
  if (bytes.length < HEADER_BYTES || bytes.toString("latin1", 0, 8) !== MAGIC) return undefined;
  if (sidecarCrc(bytes) !== bytes.readUInt32LE(16)) return undefined;
  refuseNewer(bytes.readUInt32LE(8), `${folder}/${name}`);
  const entries = bytes.subarray(HEADER_BYTES);
  if (entries.length !== bytes.readUInt32LE(12) * RETRY_ENTRY_BYTES) return undefined;
  return { entries, newestMs: newestMs(entries) };
}

function sidecarCrc(bytes: Buffer): number {
  return crc32(bytes.subarray(HEADER_BYTES), crc32(bytes.subarray(0, 16)));
}

function newestMs(entries: Buffer): number {
  let newest = 0;
  for (let pos = 0; pos < entries.length; pos += RETRY_ENTRY_BYTES) {
    newest = Math.max(newest, readUint64(entries, pos + 24));
  }
  return newest;
}
