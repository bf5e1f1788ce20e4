/** Describes a block for `spoor block inspect`. */
import type { ColumnChunk } from "#pkg/parquet/parquet.ts";
import {
  type BlockReader,
  openBlock,
  type PartLocation,
  type TagEntry,
  valueLocations,
} from "#pkg/block/block.ts";
import { nanoText, sizeText } from "./block-list.ts";
import type { RangeStore } from "./block-places.ts";

export interface DescribedBlock {
  block: string;
  sizeBytes: number;
  spans: number;
  traces: number;
  partition: string;
  bytesPerSpan: number;
  rowGroups: {
    rows: number;
    traces: number;
    minStart: string;
    maxStart: string;
    maxEnd: string;
    sizeBytes: number;
  }[];
  /** Largest first. */
  columns: DescribedColumn[];
  /** Bytes by part of the file. */
  parts: Record<string, number>;
  /** Most frequent first. */
  tags: DescribedTag[];
}

export interface DescribedColumn {
  name: string;
  sizeBytes: number;
  uncompressedBytes: number;
  /** Share of the file, 0 to 1. */
  share: number;
  encodings: string[];
  codec: string;
}

export interface DescribedTag {
  key: string;
  type: string;
  rows: number;
  distinct: string;
  filterBytes: number;
}

/** Names of Parquet's enums Encoding and CompressionCodec by number. */
const encodingNames: Readonly<Record<number, string>> = {
  0: "PLAIN",
  2: "PLAIN_DICTIONARY",
  3: "RLE",
  4: "BIT_PACKED",
  5: "DELTA_BINARY_PACKED",
  6: "DELTA_LENGTH_BYTE_ARRAY",
  7: "DELTA_BYTE_ARRAY",
  8: "RLE_DICTIONARY",
  9: "BYTE_STREAM_SPLIT",
};
const codecNames: Readonly<Record<number, string>> = { 0: "UNCOMPRESSED", 1: "SNAPPY", 6: "ZSTD" };

/** Describes a block without reading rows. Throws Corrupt naming the block, or store errors. */
export async function describeBlock(store: RangeStore, key: string): Promise<DescribedBlock> {
  const { sizeBytes } = await store.head(key);
  const reader = await openBlock({ store, key, sizeBytes });
  const { directory, rowGroups } = reader;
  const { index, count } = directory.partition;
  return {
    block: key,
    sizeBytes,
    spans: directory.rows,
    traces: directory.traces,
    partition: `${index}/${count}`,
    bytesPerSpan: sizeBytes / Math.max(1, directory.rows),
    rowGroups: directory.rowGroups.map((group, i) => ({
      rows: group.rows,
      traces: group.traces,
      minStart: nanoText(BigInt(group.minStartNano)),
      maxStart: nanoText(BigInt(group.maxStartNano)),
      maxEnd: nanoText(BigInt(group.maxEndNano)),
      sizeBytes: sum(rowGroups[i].columns, (chunk) => chunk.sizeBytes),
    })),
    columns: describeColumns(
      rowGroups.flatMap(({ columns }) => columns),
      sizeBytes,
    ),
    parts: await describeParts(reader, sizeBytes),
    tags: await describeTags(reader),
  };
}

function describeColumns(chunks: readonly ColumnChunk[], fileBytes: number): DescribedColumn[] {
  const byName = Map.groupBy(chunks, ({ name }) => name);
  const columns = [...byName].map(([name, group]): DescribedColumn => {
    const sizeBytes = sum(group, (chunk) => chunk.sizeBytes);
    const codecs = new Set(group.map(({ codec }) => codecNames[codec] ?? String(codec)));
    const encodings = new Set(group.flatMap((chunk) => chunk.encodings));
    return {
      name,
      sizeBytes,
      uncompressedBytes: sum(group, (chunk) => chunk.uncompressedBytes),
      share: sizeBytes / fileBytes,
      encodings: [...encodings].map((id) => encodingNames[id] ?? String(id)).sort(),
      codec: [...codecs].join("+"),
    };
  });
  return columns.sort((a, b) => b.sizeBytes - a.sizeBytes);
}

async function describeParts(
  reader: BlockReader,
  fileBytes: number,
): Promise<Record<string, number>> {
  const { directory, rowGroups, tailBytes } = reader;
  const { bloom, rowGroups: groups, tags, segments } = directory;
  const size = ({ sizeBytes }: PartLocation): number => sizeBytes;
  const tagBytes = async (rowGroup?: number): Promise<number> =>
    sum(valueLocations(await reader.index.tagKeys(rowGroup)), size);
  const valueBytes = await Promise.all(groups.map((_, i) => tagBytes(i)));
  const offsetIndexes = sum(rowGroups, ({ columns }) =>
    sum(columns, (chunk) => chunk.offsetIndexBytes),
  );
  return {
    columns: fileBytes - tailBytes - offsetIndexes - 4,
    "offset indexes": offsetIndexes,
    "index section: trace bloom": sum(bloom.places, size),
    "index section: tag indexes of row groups":
      sum(groups, (group) => size(group.tags)) + sum(valueBytes, (bytes) => bytes),
    "index section: tag index of the block": size(tags) + (await tagBytes()),
    "index section: segments": size(segments),
    "index section: whole": reader.indexBytes,
    footer: tailBytes - reader.indexBytes,
  };
}

async function describeTags(reader: BlockReader): Promise<DescribedTag[]> {
  const filters = new Map<string, number>();
  const nameOf = ({ key, type }: TagEntry): string => `${type}\n${key}`;
  for (const i of reader.rowGroups.keys()) {
    for (const entry of (await reader.tags(i)).entries) {
      const { bloom } = entry;
      if (bloom === undefined) continue;
      const bytes = (bloom.shape.shards * bloom.shape.bitsPerShard) / 8;
      filters.set(nameOf(entry), (filters.get(nameOf(entry)) ?? 0) + bytes);
    }
  }
  return (await reader.tags()).entries.map((entry) => ({
    key: entry.key,
    type: entry.type,
    rows: entry.rows,
    distinct: entry.truncated ? `more than ${entry.values.length}` : String(entry.values.length),
    filterBytes: filters.get(nameOf(entry)) ?? 0,
  }));
}

function sum<T>(items: readonly T[], pick: (item: T) => number): number {
  return items.reduce((total, item) => total + pick(item), 0);
}

export function describedLines(block: DescribedBlock): string[] {
  const { spans, traces, sizeBytes, bytesPerSpan } = block;
  const percent = (bytes: number): string => `${((bytes / sizeBytes) * 100).toFixed(1)} %`;
  const columns = block.columns.map((column) => [
    column.name,
    sizeText(column.sizeBytes),
    percent(column.sizeBytes),
    (column.sizeBytes / Math.max(1, spans)).toFixed(2),
    (column.uncompressedBytes / Math.max(1, column.sizeBytes)).toFixed(1),
    `${column.encodings.join(" ")} ${column.codec}`,
  ]);
  const groups = block.rowGroups.map((group, i) => [
    String(i),
    String(group.rows),
    String(group.traces),
    sizeText(group.sizeBytes),
    group.minStart,
    group.maxStart,
    group.maxEnd,
  ]);
  const parts = Object.entries(block.parts).map(([part, bytes]) => [
    part,
    sizeText(bytes),
    percent(bytes),
  ]);
  const tags = block.tags.map(({ key, type, rows, distinct, filterBytes }) => {
    const filter = filterBytes === 0 ? "" : `filters of ${sizeText(filterBytes)}`;
    return [key, type, String(rows), distinct, filter];
  });
  const size = `${sizeText(sizeBytes)}, ${bytesPerSpan.toFixed(1)} bytes per span`;
  return [
    `block ${block.block}`,
    `${spans} spans, ${traces} traces, partition ${block.partition}, ${size}`,
    "",
    ...table(["row group", "spans", "traces", "bytes", "first start", "last start", "end"], groups),
    "",
    ...table(["column", "bytes", "share", "per span", "ratio", "encodings"], columns),
    "",
    ...table(["part", "bytes", "share"], parts),
    "",
    ...table(["tag", "type", "rows", "values", ""], tags),
  ];
}

/** Formats a table with aligned columns. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [header, ...rows];
  const widths = header.map((_, i) => all.reduce((most, row) => Math.max(most, row[i].length), 0));
  return all.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]))
      .join("  ")
      .trimEnd(),
  );
}
