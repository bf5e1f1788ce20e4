/**
 * The bytes of a segment file (FORMAT.md): the segment header and the record headers.
 * Hot: runs per record; benchmark `file-log.bench.ts`.
 */
import { crc32 } from "node:zlib";
import { SpoorError } from "#pkg/errors/errors.ts";

/** Version of the files in the log's folder; older versions are read, newer ones refused. */
export const FORMAT_VERSION = 2;
export const SEGMENT_HEADER_BYTES = 64;
export const RECORD_HEADER_BYTES = 52;
export const HASH_BYTES = 16;
export const LOG_ID_BYTES = 16;
export const TENANT_BYTES_MAX = 255;
/** Maximum bytes of a record, so that a reader can bound its buffer. */
export const RECORD_BYTES_MAX: number = 128 * 1024 * 1024;

const TWO_32 = 4294967296;
const SEGMENT_MAGIC = "SPOORSEG";
/** First bytes of every record. 0xF5 does not occur in UTF-8, so no text contains the marker. */
export const RECORD_MARKER: Buffer = Buffer.from([0xf5, 0x53, 0x50, 0x52]);
const RECORD_MARKER_WORD = 0x525053f5;
const SEGMENT_NAME = /^(\d{20})(?:-(\d{10}))?\.seg$/;
const UINT32_MAX = 4294967295;

/** The values in the name of a segment. */
export interface SegmentId {
  firstOffset: number;
  /** Fencing number of the owner that wrote it, as in `log.json`; 0 before format 2. */
  owner: number;
}

export interface SegmentHeader extends SegmentId {
  logId: string;
  partition: number;
  createdMs: number;
}

export interface RecordHeader {
  bodyCrc: number;
  /** Length of the record's bytes, without header and tenant. */
  bytesLength: number;
  offset: number;
  appendedMs: number;
  hash: Uint8Array;
  tenantLength: number;
}

export function segmentName({ firstOffset, owner }: SegmentId): string {
  const first = String(firstOffset).padStart(20, "0");
  return owner === 0 ? `${first}.seg` : `${first}-${String(owner).padStart(10, "0")}.seg`;
}

/** Parses a file name; undefined if it is not the name of a segment. */
export function parseSegmentName(name: string): SegmentId | undefined {
  const match = SEGMENT_NAME.exec(name);
  if (match === null) return undefined;
  const [firstOffset, owner] = [Number(match[1]), Number(match[2] ?? 0)];
  const isPossible = Number.isSafeInteger(firstOffset) && owner <= UINT32_MAX;
  return isPossible ? { firstOffset, owner } : undefined;
}

/**
 * Returns the start value for the CRC of the segment's record headers. It makes a record valid only
 * in its own segment, so stale disk blocks and bytes inside of spans are not mistaken for records.
 */
export function segmentSeed(logId: string, partition: number, segment: SegmentId): number {
  const { firstOffset, owner } = segment;
  const text = `${logId}/${partition}/${firstOffset}`;
  return crc32(owner === 0 ? text : `${text}/${owner}`);
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const out = Buffer.alloc(SEGMENT_HEADER_BYTES);
  out.write(SEGMENT_MAGIC, 0, "latin1");
  out.writeUInt32LE(FORMAT_VERSION, 8);
  out.writeUInt32LE(header.partition, 12);
  out.write(header.logId, 16, "hex");
  writeUint64(out, 32, header.firstOffset);
  writeUint64(out, 40, header.createdMs);
  out.writeUInt32LE(header.owner, 48);
  out.writeUInt32LE(crc32(out.subarray(0, 60)), 60);
  return out;
}

/** Decodes a segment header; undefined if it is invalid. Throws InvalidInput for a newer format. */
export function decodeSegmentHeader(bytes: Buffer, path: string): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES) return undefined;
  if (bytes.toString("latin1", 0, 8) !== SEGMENT_MAGIC) return undefined;
  if (crc32(bytes.subarray(0, 60)) !== bytes.readUInt32LE(60)) return undefined;
  refuseNewer(bytes.readUInt32LE(8), path);
  return {
    partition: bytes.readUInt32LE(12),
    logId: bytes.toString("hex", 16, 32),
    firstOffset: readUint64(bytes, 32),
    createdMs: readUint64(bytes, 40),
    owner: bytes.readUInt32LE(48),
  };
}

/** Throws InvalidInput `log_format_newer` for a version that this code does not know. */
export function refuseNewer(version: number, path: string): void {
  if (version >= 1 && version <= FORMAT_VERSION) return;
  throw new SpoorError(
    "InvalidInput",
    `open ${path}: log format ${version} is not one of the known formats 1 to ${FORMAT_VERSION}`,
    { reason: "log_format_newer" },
  );
}

/** Writes a record's header at `pos`; `seed` is the segment's. Returns the position after it. */
export function encodeRecordHeader(
  out: Buffer,
  pos: number,
  seed: number,
  header: RecordHeader,
): number {
  out.writeUInt32LE(RECORD_MARKER_WORD, pos);
  out.writeUInt32LE(header.bodyCrc, pos + 8);
  out.writeUInt32LE(header.bytesLength, pos + 12);
  writeUint64(out, pos + 16, header.offset);
  writeUint64(out, pos + 24, header.appendedMs);
  out.set(header.hash, pos + 32);
  out.writeUInt16LE(header.tenantLength, pos + 48);
  out.writeUInt16LE(0, pos + 50);
  const end = pos + RECORD_HEADER_BYTES;
  out.writeUInt32LE(crc32(out.subarray(pos + 8, end), seed), pos + 4);
  return end;
}

/** Returns whether a valid record header is at `pos`. The buffer must contain all of its bytes. */
export function isRecordHeader(bytes: Buffer, pos: number, seed: number): boolean {
  if (bytes.readUInt32LE(pos) !== RECORD_MARKER_WORD) return false;
  const end = pos + RECORD_HEADER_BYTES;
  if (crc32(bytes.subarray(pos + 8, end), seed) !== bytes.readUInt32LE(pos + 4)) return false;
  return bytes.readUInt32LE(pos + 12) <= RECORD_BYTES_MAX && bytes.readUInt16LE(pos + 50) === 0;
}

/** Returns the length of the whole record whose valid header is at `pos`. */
export function recordLength(bytes: Buffer, pos: number): number {
  return RECORD_HEADER_BYTES + bytes.readUInt16LE(pos + 48) + bytes.readUInt32LE(pos + 12);
}

/** Returns whether the body of the record at `pos` is intact. The buffer must contain all of it. */
export function isRecordBody(bytes: Buffer, pos: number): boolean {
  const body = bytes.subarray(pos + RECORD_HEADER_BYTES, pos + recordLength(bytes, pos));
  return crc32(body) === bytes.readUInt32LE(pos + 8);
}

export function recordOffset(bytes: Buffer, pos: number): number {
  return readUint64(bytes, pos + 16);
}

export function recordAppendedMs(bytes: Buffer, pos: number): number {
  return readUint64(bytes, pos + 24);
}

/** Returns a view of the record's retry hash. */
export function recordHash(bytes: Buffer, pos: number): Buffer {
  return bytes.subarray(pos + 32, pos + 32 + HASH_BYTES);
}

/** Returns the position of the record's bytes, after the header and the tenant. */
export function recordBytesStart(bytes: Buffer, pos: number): number {
  return pos + RECORD_HEADER_BYTES + bytes.readUInt16LE(pos + 48);
}

/** Writes an integer from 0 to 2^53 - 1 as 64 bits. */
export function writeUint64(out: Buffer, pos: number, value: number): void {
  out.writeUInt32LE(value % TWO_32, pos);
  out.writeUInt32LE(Math.floor(value / TWO_32), pos + 4);
}

/** Reads 64 bits. Above 2^53 the result is inexact; callers compare it with a limit. */
export function readUint64(bytes: Buffer, pos: number): number {
  return bytes.readUInt32LE(pos + 4) * TWO_32 + bytes.readUInt32LE(pos);
}
