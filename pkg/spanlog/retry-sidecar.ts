/**
 * Files with the retry hashes of trimmed segments (FORMAT.md): `p<i>/<first offset>.ids`, one per
 * trim that removed segments. A file is deleted when all of its entries have expired.
 */
import { crc32 } from "node:zlib";
import { readRegularFile } from "#pkg/files/files.ts";
import { FORMAT_VERSION, readUint64, refuseNewer } from "./format.ts";
import { writeFileDurably, type LogFs } from "./log-fs.ts";
import { RETRY_ENTRY_BYTES } from "./retry-memory.ts";

const MAGIC = "SPOORIDS";
const HEADER_BYTES = 20;
const SIDECAR_NAME = /^\d{20}\.ids$/;

/** In version 1 the wall-clock time of each entry followed its offset. */
const ENTRY_BYTES_V1 = 32;

export interface Sidecar {
  name: string;
  /** The greatest offset of the entries. */
  lastOffset: number;
  version: number;
}

export function isSidecarName(name: string): boolean {
  return SIDECAR_NAME.test(name);
}

/** Writes the entries durably; there must be at least one. */
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
  return { name, lastOffset: lastOffset(entries), version: FORMAT_VERSION };
}

/** Reads the entries of a sidecar file; undefined if it is damaged. */
export function readSidecar(
  folder: string,
  name: string,
): (Omit<Sidecar, "name"> & { entries: Buffer }) | undefined {
  const bytes = readRegularFile(`${folder}/${name}`);
  if (bytes.length < HEADER_BYTES || bytes.toString("latin1", 0, 8) !== MAGIC) return undefined;
  if (sidecarCrc(bytes) !== bytes.readUInt32LE(16)) return undefined;
  const version = bytes.readUInt32LE(8);
  refuseNewer(version, `${folder}/${name}`);
  const entryBytes = version === 1 ? ENTRY_BYTES_V1 : RETRY_ENTRY_BYTES;
  const stored = bytes.subarray(HEADER_BYTES);
  if (stored.length !== bytes.readUInt32LE(12) * entryBytes) return undefined;
  const entries = version === 1 ? withoutTimes(stored) : stored;
  return { entries, lastOffset: lastOffset(entries), version };
}

function sidecarCrc(bytes: Buffer): number {
  return crc32(bytes.subarray(HEADER_BYTES), crc32(bytes.subarray(0, 16)));
}

function withoutTimes(stored: Buffer): Buffer {
  const out = Buffer.alloc((stored.length / ENTRY_BYTES_V1) * RETRY_ENTRY_BYTES);
  for (let from = 0, to = 0; from < stored.length; from += ENTRY_BYTES_V1) {
    to += stored.copy(out, to, from, from + RETRY_ENTRY_BYTES);
  }
  return out;
}

/** Returns the offset of the last entry; entries are in order of their offsets. */
function lastOffset(entries: Buffer): number {
  return entries.length === 0 ? -1 : readUint64(entries, entries.length - RETRY_ENTRY_BYTES + 16);
}
