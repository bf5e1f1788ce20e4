/**
 * The index section of a block: bytes between the last row group and the Parquet footer, invisible
 * to other readers. FORMAT.md has the drawing.
 *
 *     directory (JSON) | part | part | ... | trailer (48 bytes)
 *
 * The directory names each part with its place in the file, size and CRC-32, so a part can be read
 * alone. The trailer stands right before the footer and says where the directory is.
 */
import { crc32, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { z } from "zod";
import { SpoorError } from "#pkg/errors/errors.ts";
import { type BloomBytes, type BloomShape, bloomShapeSchema } from "./bloom.ts";
import type { Segment } from "./stitch.ts";
import { parseTagIndex, type TagIndex } from "./tag-index.ts";

/** Version of the index section that this code writes; newer ones are refused. */
export const indexVersion = 2;
export const trailerBytes = 48;
const trailerMagic = "SPOORIDX";
/** Decompressed size of one part at the most. */
const partBytesMax = 32 * 1024 * 1024;
/** JSON of a part nests this deep at the most; ours has 6 levels. */
const jsonDepthMax = 16;

/** A part of the index section: where it is, and the CRC-32 of its bytes. */
export interface Place {
  offset: number;
  sizeBytes: number;
  crc: number;
}

export interface RowGroupIndex {
  rows: number;
  traces: number;
  /** Nanoseconds since the epoch, decimal: earliest and latest start, latest end. */
  minStartNano: string;
  maxStartNano: string;
  maxEndNano: string;
  /** Tag index of the row group. */
  tags: Place;
}

export interface Directory {
  partition: { index: number; count: number };
  rows: number;
  traces: number;
  rowGroups: RowGroupIndex[];
  bloom: BloomShape & { places: Place[] };
  /** Sizes and CRCs of the segments before the index section. */
  segments: Place;
  /** Tag index of the whole block. */
  tags: Place;
}

const count: z.ZodType<number> = z.number().int().nonnegative();
const nano: z.ZodType<string> = z.string().regex(/^-?\d{1,20}$/);
const placeSchema: z.ZodType<Place> = z.object({ offset: count, sizeBytes: count, crc: count });
const rowGroupSchema: z.ZodType<RowGroupIndex> = z.object({
  rows: count,
  traces: count,
  minStartNano: nano,
  maxStartNano: nano,
  maxEndNano: nano,
  tags: placeSchema,
});
const directorySchema: z.ZodType<Directory> = z.object({
  partition: z.object({ index: count, count }),
  rows: count,
  traces: count,
  rowGroups: z.array(rowGroupSchema).min(1).max(10_000),
  bloom: bloomShapeSchema.and(z.object({ places: z.array(placeSchema).max(1_000_000) })),
  segments: placeSchema,
  tags: placeSchema,
});

export interface IndexInput {
  partition: { index: number; count: number };
  traces: number;
  rowGroups: {
    rows: number;
    traces: number;
    minStartNano: bigint;
    maxStartNano: bigint;
    maxEndNano: bigint;
    tags: TagIndex;
  }[];
  bloom: BloomBytes;
  tags: TagIndex;
  segments: readonly Segment[];
  footer: Uint8Array;
}

export interface EncodedIndex {
  bytes: Uint8Array;
  /** Bloom shards, for the commit: shape and where the first shard starts (they are contiguous). */
  bloom: BloomShape & { offset: number; crcs: number[] };
}

/** The index section for a block whose body ends at `offset`. */
export function encodeIndex(input: IndexInput, offset: number): EncodedIndex {
  const parts: Uint8Array[] = [];
  // The directory's size depends on offsets that depend on its size: it comes last, parts first.
  let at = offset;
  const place = (bytes: Uint8Array): Place => {
    const placed = { offset: at, sizeBytes: bytes.length, crc: crc32(bytes) };
    parts.push(bytes);
    at += bytes.length;
    return placed;
  };
  const { bytes: shards, ...shape } = input.bloom;
  const bloomOffset = at;
  const bloom = { ...shape, places: shards.map((shard) => place(shard)) };
  const directory: Directory = {
    partition: input.partition,
    rows: input.rowGroups.reduce((sum, { rows }) => sum + rows, 0),
    traces: input.traces,
    bloom,
    rowGroups: input.rowGroups.map((rowGroup) => ({
      rows: rowGroup.rows,
      traces: rowGroup.traces,
      minStartNano: String(rowGroup.minStartNano),
      maxStartNano: String(rowGroup.maxStartNano),
      maxEndNano: String(rowGroup.maxEndNano),
      tags: place(packJson(rowGroup.tags)),
    })),
    tags: place(packJson(input.tags)),
    segments: place(packSegments(input.segments)),
  };
  const crcs = bloom.places.map(({ crc }) => crc);
  const directoryBytes = packJson(directory);
  const directoryPlace = place(directoryBytes);
  parts.push(encodeTrailer(offset, directoryPlace, input.footer));
  return { bytes: Buffer.concat(parts), bloom: { ...shape, offset: bloomOffset, crcs } };
}

export interface Trailer {
  /** Where the index section starts: the end of the segments. */
  sectionOffset: number;
  directory: Place;
  footerBytes: number;
  footerCrc: number;
}

/**
 *     0  u64 section offset      24  u32 footer length
 *     8  u64 directory offset    28  u32 footer CRC
 *    16  u32 directory length    32  u32 version
 *    20  u32 directory CRC       36  u32 CRC of bytes 0..35
 *                                40  "SPOORIDX"              all little-endian
 */
function encodeTrailer(sectionOffset: number, directory: Place, footer: Uint8Array): Uint8Array {
  const out = Buffer.alloc(trailerBytes);
  out.writeBigUInt64LE(BigInt(sectionOffset), 0);
  out.writeBigUInt64LE(BigInt(directory.offset), 8);
  out.writeUInt32LE(directory.sizeBytes, 16);
  out.writeUInt32LE(directory.crc, 20);
  out.writeUInt32LE(footer.length, 24);
  out.writeUInt32LE(crc32(footer), 28);
  out.writeUInt32LE(indexVersion, 32);
  out.writeUInt32LE(crc32(out.subarray(0, 36)), 36);
  out.write(trailerMagic, 40, "latin1");
  return out;
}

/** Reads a trailer. Throws Corrupt, or InvalidInput for a version newer than this code knows. */
export function decodeTrailer(bytes: Uint8Array): Trailer {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length !== trailerBytes || view.toString("latin1", 40) !== trailerMagic) {
    throw new SpoorError("Corrupt", "index trailer not found before the Parquet footer");
  }
  if (view.readUInt32LE(36) !== crc32(view.subarray(0, 36))) {
    throw new SpoorError("Corrupt", "checksum of the index trailer does not match");
  }
  const version = view.readUInt32LE(32);
  if (version > indexVersion) {
    throw new SpoorError(
      "InvalidInput",
      `index section has version ${version}, this program knows up to ${indexVersion}`,
      { reason: "format_too_new" },
    );
  }
  return {
    sectionOffset: Number(view.readBigUInt64LE(0)),
    directory: {
      offset: Number(view.readBigUInt64LE(8)),
      sizeBytes: view.readUInt32LE(16),
      crc: view.readUInt32LE(20),
    },
    footerBytes: view.readUInt32LE(24),
    footerCrc: view.readUInt32LE(28),
  };
}

/** Checks a part against its CRC. Throws Corrupt naming the part. */
export function checkPart(bytes: Uint8Array, place: Place, what: string): void {
  if (bytes.length !== place.sizeBytes || crc32(bytes) !== place.crc) {
    throw new SpoorError("Corrupt", `checksum of ${what} does not match`);
  }
}

/** A part out of the file's tail from `tailOffset` on, checked. Throws Corrupt naming the part. */
export function partOf(
  tail: Uint8Array,
  tailOffset: number,
  part: Place,
  what: string,
): Uint8Array {
  const start = part.offset - tailOffset;
  const end = start + part.sizeBytes;
  if (start < 0 || end > tail.length) {
    throw new SpoorError("Corrupt", `${what} lies outside the index section`);
  }
  const bytes = tail.subarray(start, end);
  checkPart(bytes, part, what);
  return bytes;
}

/** Reads a directory. Throws Corrupt. */
export function decodeDirectory(bytes: Uint8Array): Directory {
  const parsed = directorySchema.safeParse(unpackJson(bytes, "directory"));
  if (!parsed.success) {
    throw new SpoorError(
      "Corrupt",
      `index directory is not valid: ${parsed.error.message.slice(0, 300)}`,
    );
  }
  const { shards, places } = parsed.data.bloom;
  if (places.length !== shards) {
    throw new SpoorError("Corrupt", `index directory has ${places.length} of ${shards} shards`);
  }
  return parsed.data;
}

/** Reads a tag index. Throws Corrupt. */
export function decodeTags(bytes: Uint8Array): TagIndex {
  return parseTagIndex(unpackJson(bytes, "tag index"));
}

function packSegments(segments: readonly Segment[]): Uint8Array {
  const out = Buffer.alloc(segments.length * 8);
  segments.forEach(({ sizeBytes, crc }, i) => {
    out.writeUInt32LE(sizeBytes, i * 8);
    out.writeUInt32LE(crc, i * 8 + 4);
  });
  return out;
}

/** Reads the segment list. Throws Corrupt. */
export function decodeSegments(bytes: Uint8Array): Segment[] {
  if (bytes.length % 8 !== 0) {
    throw new SpoorError("Corrupt", `segment list of ${bytes.length} bytes, not 8 for each`);
  }
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const out: Segment[] = [];
  for (let at = 0; at < view.length; at += 8) {
    out.push({ sizeBytes: view.readUInt32LE(at), crc: view.readUInt32LE(at + 4) });
  }
  return out;
}

function packJson(value: unknown): Uint8Array {
  const json = Buffer.from(JSON.stringify(value), "utf8");
  if (json.length > partBytesMax) {
    throw new SpoorError("Internal", `part of the index section has ${json.length} bytes`);
  }
  return zstdCompressSync(json);
}

function unpackJson(bytes: Uint8Array, what: string): unknown {
  try {
    const json = zstdDecompressSync(bytes, { maxOutputLength: partBytesMax });
    checkDepth(json);
    return JSON.parse(json.toString("utf8")) as unknown;
  } catch (cause) {
    throw new SpoorError("Corrupt", `${what} of the index section cannot be read`, { cause });
  }
}

/** A few megabytes of brackets would become gigabytes of arrays. */
function checkDepth(json: Uint8Array): void {
  let depth = 0;
  let inText = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (inText) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) inText = false;
    } else if (byte === 0x22) inText = true;
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > jsonDepthMax) throw new SpoorError("Corrupt", "JSON nested too deeply");
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
}
