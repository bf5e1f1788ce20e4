/** Test support: takes a block apart and puts it together again with valid checksums. */
import { columnOf, type Column, type ColumnBatch } from "#pkg/columns/column-batch.ts";
import { parquetTailBytes, readFooter } from "#pkg/parquet/footer.ts";
import {
  decodeDirectory,
  decodeSegments,
  decodeTrailer,
  type Directory,
  encodeIndex,
  trailerBytes,
} from "#pkg/block/index/index-section.ts";
import type { PartLocation } from "./place.ts";
import { openBlock } from "./reader.ts";
import type { Segment } from "#pkg/parquet/stitch.ts";
import { storeOf, testKey } from "./block.testing.ts";
import type { TagIndex } from "#pkg/block/index/tag-index.ts";
import { decodeTagKeys, decodeTagValues, withValues } from "#pkg/block/index/tag-parts.ts";
import { encodeThrift, type ThriftStruct } from "#pkg/parquet/thrift.ts";
import { type WrittenBlock, writeBlock } from "./writer.ts";
import { crc32 } from "node:zlib";

/** All parts of a block, for a test to change. */
export interface BlockParts {
  /** The bytes before the index section; their number must not change. */
  body: Buffer;
  segments: Segment[];
  directory: Directory;
  blooms: Buffer[];
  rowGroupTags: TagIndex[];
  tags: TagIndex;
  footer: ThriftStruct;
  footerOffset: number;
}

export function takeApart(block: Uint8Array): BlockParts {
  const bytes = Buffer.from(block);
  const { footer, footerStart } = readFooter(bytes);
  const trailer = decodeTrailer(bytes.subarray(footerStart - trailerBytes, footerStart));
  const part = ({ offset, sizeBytes }: PartLocation): Buffer =>
    bytes.subarray(offset, offset + sizeBytes);
  const directory = decodeDirectory(part(trailer.directory));
  const tagsAt = (place: PartLocation): TagIndex => {
    const { entries, ...facts } = decodeTagKeys(part(place), trailer.version);
    return { entries: withValues(entries, (one) => decodeTagValues(part(one))), ...facts };
  };
  return {
    body: bytes.subarray(0, trailer.sectionOffset),
    segments: decodeSegments(part(directory.segments)),
    directory,
    blooms: directory.bloom.places.map(part),
    rowGroupTags: directory.rowGroups.map(({ tags }) => tagsAt(tags)),
    tags: tagsAt(directory.tags),
    footer,
    footerOffset: footerStart,
  };
}

export function putTogether(parts: BlockParts): Uint8Array {
  const { body, directory, blooms, tags } = parts;
  let at = 0;
  const segments = parts.segments.map(({ sizeBytes }) => {
    at += sizeBytes;
    return { sizeBytes, crc: crc32(body.subarray(at - sizeBytes, at)) };
  });
  const { places: _places, ...shape } = directory.bloom;
  const footer = encodeThrift(parts.footer);
  const rowGroups = directory.rowGroups.map((group, i) => ({
    ...group,
    minStartNano: BigInt(group.minStartNano),
    maxStartNano: BigInt(group.maxStartNano),
    maxTraceStartNano:
      group.maxTraceStartNano === undefined ? undefined : BigInt(group.maxTraceStartNano),
    maxEndNano: BigInt(group.maxEndNano),
    tags: parts.rowGroupTags[i],
  }));
  const { partition, traces } = directory;
  const bloom = { ...shape, bytes: blooms };
  const input = { partition, traces, rowGroups, bloom, tags, segments, footer };
  const tail = Buffer.alloc(parquetTailBytes);
  tail.writeUInt32LE(footer.length, 0);
  tail.write("PAR1", 4, "latin1");
  return Buffer.concat([body, encodeIndex(input, body.length).bytes, footer, tail]);
}

/** Rewrites a block of one row group with changed columns, which may be invalid. */
export async function rewrite(
  block: Uint8Array,
  change: (columns: Map<string, Column>) => void,
): Promise<WrittenBlock> {
  const store = await storeOf(block);
  const reader = await openBlock({ store, key: testKey, sizeBytes: block.length });
  const batch = await reader.readRowGroup(0);
  const columns = new Map(batch.names.map((name) => [name, batch.column(name)!]));
  change(columns);
  const changed: ColumnBatch = {
    rows: batch.rows,
    names: [...columns.keys()],
    column: (name) => columns.get(name),
  };
  const { partition, traces } = reader.directory;
  reader.close();
  const rowGroups = [{ fromRow: 0, toRow: batch.rows, traces }];
  return writeBlock({ batch: changed, rowGroups, partition, createdBy: "spoor test" });
}

/** Replaces an int32 column by a copy with one value changed. */
export function withInt(columns: Map<string, Column>, name: string, row: number, to: number): void {
  const column = columnOf({ rows: 0, names: [], column: (n) => columns.get(n) }, name, "int32")!;
  columns.set(name, { ...column, values: column.values.with(row, to) });
}
