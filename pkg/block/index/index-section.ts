/**
 * The index section of a block: bytes between the last row group and the Parquet footer, invisible
 * to other readers. FORMAT.md has the drawing.
 *
 *     part | part | ... | directory (JSON) | trailer (48 bytes)
 *
 * The directory locates each part by offset, size and CRC-32, so a part can be read alone. The
 * trailer is right before the footer and locates the directory.
 */
import { crc32 } from "node:zlib";
import { z } from "zod";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { BloomBytes, BloomShape } from "./bloom.ts";
import { bloomShapeSchema } from "./bloom-schema.ts";
import { packJson, unpackJson } from "./packed-json.ts";
import { type PartLocation, partLocationSchema } from "#pkg/block/place.ts";
import type { Segment } from "#pkg/parquet/parquet.ts";
import type { TagIndex } from "./tag-index.ts";
import { encodeTagKeys } from "./tag-parts.ts";

/** Version of the index section that this code writes; newer ones are refused. */
export const indexVersion = 2;
export const trailerBytes = 48;
const trailerMagic = "SPOORIDX";

export interface RowGroupIndex {
  rows: number;
  traces: number;
  /** Nanoseconds since the epoch, decimal: earliest and latest start, latest end. */
  minStartNano: string;
  maxStartNano: string;
  maxEndNano: string;
  /** Latest start of a trace, which is that of its earliest span; older blocks have none. */
  maxTraceStartNano?: string;
  /** Tag index of the row group: its list of keys. */
  tags: PartLocation;
}

export interface Directory {
  partition: { index: number; count: number };
  rows: number;
  traces: number;
  rowGroups: RowGroupIndex[];
  bloom: BloomShape & { places: PartLocation[] };
  /** Sizes and CRCs of the segments before the index section. */
  segments: PartLocation;
  /** Tag index of the whole block: its list of keys. */
  tags: PartLocation;
}

const count: z.ZodType<number> = z.number().int().nonnegative();
const nano: z.ZodType<string> = z.string().regex(/^-?\d{1,20}$/);
const rowGroupSchema: z.ZodType<RowGroupIndex> = z.object({
  rows: count,
  traces: count,
  minStartNano: nano,
  maxStartNano: nano,
  maxEndNano: nano,
  maxTraceStartNano: nano.optional(),
  tags: partLocationSchema,
});
const directorySchema: z.ZodType<Directory> = z.object({
  partition: z.object({ index: count, count }),
  rows: count,
  traces: count,
  rowGroups: z.array(rowGroupSchema).min(1).max(10_000),
  bloom: bloomShapeSchema.and(z.object({ places: z.array(partLocationSchema).max(1_000_000) })),
  segments: partLocationSchema,
  tags: partLocationSchema,
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
    maxTraceStartNano?: bigint;
    tags: TagIndex;
  }[];
  bloom: BloomBytes;
  tags: TagIndex;
  segments: readonly Segment[];
  footer: Uint8Array;
}

export interface EncodedIndex {
  bytes: Uint8Array;
  /** The trace bloom, for the commit: shape, and the offset of the first of contiguous shards. */
  bloom: BloomShape & { offset: number; crcs: number[] };
}

/** Encodes the index section of a block whose body ends at `offset`. */
export function encodeIndex(input: IndexInput, offset: number): EncodedIndex {
  const parts: Uint8Array[] = [];
  // The directory holds the offsets of all parts, so it comes after them.
  let at = offset;
  const place = (bytes: Uint8Array): PartLocation => {
    const placed = { offset: at, sizeBytes: bytes.length, crc: crc32(bytes) };
    parts.push(bytes);
    at += bytes.length;
    return placed;
  };
  const { bytes: shards, ...shape } = input.bloom;
  const bloomOffset = at;
  const bloom = { ...shape, places: shards.map((shard) => place(shard)) };
  // Lists of keys are next to the directory, so that one read on opening gets them.
  const rowGroupKeys = input.rowGroups.map(({ tags }) => encodeTagKeys(tags, place));
  const blockKeys = encodeTagKeys(input.tags, place);
  const directory: Directory = {
    partition: input.partition,
    rows: input.rowGroups.reduce((sum, { rows }) => sum + rows, 0),
    traces: input.traces,
    bloom,
    rowGroups: input.rowGroups.map((rowGroup, i) => ({
      rows: rowGroup.rows,
      traces: rowGroup.traces,
      minStartNano: String(rowGroup.minStartNano),
      maxStartNano: String(rowGroup.maxStartNano),
      maxEndNano: String(rowGroup.maxEndNano),
      maxTraceStartNano: rowGroup.maxTraceStartNano?.toString(),
      tags: place(rowGroupKeys[i]),
    })),
    tags: place(blockKeys),
    segments: place(packSegments(input.segments)),
  };
  const crcs = bloom.places.map(({ crc }) => crc);
  const directoryBytes = packJson(directory);
  const directoryPlace = place(directoryBytes);
  parts.push(encodeTrailer(offset, directoryPlace, input.footer));
  return { bytes: Buffer.concat(parts), bloom: { ...shape, offset: bloomOffset, crcs } };
}

export interface Trailer {
  version: number;
  /** Offset of the index section: the end of the segments. */
  sectionOffset: number;
  directory: PartLocation;
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
function encodeTrailer(
  sectionOffset: number,
  directory: PartLocation,
  footer: Uint8Array,
): Uint8Array {
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

/** Decodes a trailer. Throws Corrupt, or InvalidInput for a version newer than this code knows. */
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
    version,
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

/** Decodes a directory. Throws Corrupt. */
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

function packSegments(segments: readonly Segment[]): Uint8Array {
  const out = Buffer.alloc(segments.length * 8);
  segments.forEach(({ sizeBytes, crc }, i) => {
    out.writeUInt32LE(sizeBytes, i * 8);
    out.writeUInt32LE(crc, i * 8 + 4);
  });
  return out;
}

/** Decodes the segment list. Throws Corrupt. */
export function decodeSegments(bytes: Uint8Array): Segment[] {
  if (bytes.length % 8 !== 0) {
    throw new SpoorError("Corrupt", `segment list of ${bytes.length} bytes is not a multiple of 8`);
  }
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const out: Segment[] = [];
  for (let at = 0; at < view.length; at += 8) {
    out.push({ sizeBytes: view.readUInt32LE(at), crc: view.readUInt32LE(at + 4) });
  }
  return out;
}
