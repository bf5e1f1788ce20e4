/**
 * Writes a block. It encodes each row group with parquet-wasm separately, which bounds WASM memory,
 * joins them with `stitch` and inserts the index section before the footer.
 */
import {
  type Column,
  type ColumnBatch,
  columnOf,
  columnType,
  valueBytes,
} from "#pkg/columns/columns.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { encodeArrow, type NamedColumn } from "#pkg/parquet/arrow-write.ts";
import { type BloomShape, buildBloom, traceIdHasher } from "#pkg/block/index/bloom.ts";
import { encodeIndex, type IndexInput } from "#pkg/block/index/index-section.ts";
import { type ColumnEncoding, encodeParquet } from "#pkg/parquet/parquet-wasm.ts";
import { sliceColumn, stitch } from "#pkg/parquet/parquet.ts";
import { buildTagIndex } from "#pkg/block/index/tag-build.ts";
import { mergeTagIndexes, type TagIndex } from "#pkg/block/index/tag-index.ts";

export interface BlockInput {
  /** Spans in block order: by trace, traces by start. */
  batch: ColumnBatch;
  /** Row groups as row ranges [from, to), with the number of traces in each. */
  rowGroups: readonly { fromRow: number; toRow: number; traces: number }[];
  partition: { index: number; count: number };
  /** Written to the footer, e.g. "spoor 0.1.0". */
  createdBy: string;
}

export interface WrittenBlock {
  bytes: Uint8Array;
  spans: number;
  traces: number;
  /** Earliest and latest start and latest end, nanoseconds since the epoch. */
  minStartNano: bigint;
  maxStartNano: bigint;
  maxEndNano: bigint;
  /** Offsets of the index section and of the Parquet footer. */
  indexOffset: number;
  footerOffset: number;
  /** The trace bloom: shards one after another from `offset`, each with its CRC-32. */
  bloom: BloomShape & { offset: number; crcs: number[] };
  rowGroups: {
    rows: number;
    traces: number;
    minStartNano: bigint;
    maxStartNano: bigint;
    maxEndNano: bigint;
    /** Latest start of a trace, which is that of its earliest span. */
    maxTraceStartNano?: bigint;
  }[];
  /** Names of the columns in the file. */
  columns: readonly string[];
}

/** Encodes a whole block in memory. */
export function writeBlock(input: BlockInput): WrittenBlock {
  const { batch } = input;
  const columns = batch.names.map((name): NamedColumn => ({ name, column: batch.column(name)! }));
  for (const { name } of columns) {
    if (columnType(name) === undefined) {
      throw new SpoorError("Internal", `column ${name} is not part of the schema`);
    }
  }
  const files: Uint8Array[] = [];
  const rowGroups: IndexInput["rowGroups"] = [];
  for (const { fromRow, toRow, traces } of input.rowGroups) {
    const rows = toRow - fromRow;
    const sliced = columns.map(({ name, column }) => ({
      name,
      column: sliceColumn(column, fromRow, toRow),
    }));
    const file = encodeParquet(encodeArrow(sliced, rows), rows, chooseEncodings(sliced));
    files.push(file);
    rowGroups.push({
      rows,
      traces,
      ...timesOf(sliced),
      maxTraceStartNano: lastTraceStart(sliced),
      tags: buildTagIndex(batchOfSlice(sliced, rows), bloomBytesMax(file.length)),
    });
  }
  return assemble(input, files, rowGroups, columns);
}

/** Filters of tag values may take 2.5 % of their row group, so that the index stays below 4 %. */
function bloomBytesMax(rowGroupBytes: number): number {
  return Math.max(16 * 1024, rowGroupBytes / 40);
}

function assemble(
  input: BlockInput,
  files: readonly Uint8Array[],
  rowGroups: IndexInput["rowGroups"],
  columns: readonly NamedColumn[],
): WrittenBlock {
  const stitched = stitch(files, input.createdBy);
  const traces = rowGroups.reduce((sum, rowGroup) => sum + rowGroup.traces, 0);
  const tags: TagIndex = mergeTagIndexes(rowGroups.map((rowGroup) => rowGroup.tags));
  const { body, bodyBytes, footer, segments } = stitched;
  const bloom = buildBloom(traceIdsOf(input.batch), traces, traceIdHasher);
  const { partition } = input;
  const index = encodeIndex(
    { partition, traces, rowGroups, bloom, tags, segments, footer },
    bodyBytes,
  );
  const tail = Buffer.alloc(8);
  tail.writeUInt32LE(footer.length, 0);
  tail.write("PAR1", 4, "latin1");
  return {
    bytes: Buffer.concat([...body, index.bytes, footer, tail]),
    spans: input.batch.rows,
    traces,
    minStartNano: least(rowGroups.map(({ minStartNano }) => minStartNano)),
    maxStartNano: greatest(rowGroups.map(({ maxStartNano }) => maxStartNano)),
    maxEndNano: greatest(rowGroups.map(({ maxEndNano }) => maxEndNano)),
    indexOffset: bodyBytes,
    footerOffset: bodyBytes + index.bytes.length,
    bloom: index.bloom,
    rowGroups: rowGroups.map(({ tags: _tags, ...times }) => times),
    columns: columns.map(({ name }) => name),
  };
}

function batchOfSlice(columns: readonly NamedColumn[], rows: number): ColumnBatch {
  const byName = new Map(columns.map(({ name, column }) => [name, column]));
  return { rows, names: [...byName.keys()], column: (name) => byName.get(name) };
}

const deltaColumns = new Set([
  "start_unix_nano",
  "duration_nano",
  "nested_left",
  "nested_right",
  "trace_start_unix_nano",
]);

/** Chooses encodings. A dictionary of unique values costs a hash per row and a page for nothing. */
function chooseEncodings(columns: readonly NamedColumn[]): Map<string, ColumnEncoding> {
  const out = new Map<string, ColumnEncoding>();
  for (const { name, column } of columns) {
    if (name === "span_id" || name === "parent_span_id") out.set(name, "plain");
    else if (deltaColumns.has(name)) out.set(name, "delta");
    else if (column.kind === "dict" && isMostlyUnique(column)) out.set(name, "plain");
  }
  return out;
}

function isMostlyUnique(column: Extract<Column, { kind: "dict" }>): boolean {
  const { length } = column.dictionary;
  if (length < 1000) return false;
  let present = 0;
  for (const code of column.codes) if (code >= 0) present++;
  return length > present / 2;
}

function timesOf(columns: readonly NamedColumn[]): {
  minStartNano: bigint;
  maxStartNano: bigint;
  maxEndNano: bigint;
} {
  const find = (name: string): BigInt64Array => {
    const found = columns.find((column) => column.name === name)?.column;
    if (found?.kind !== "int64") throw new SpoorError("Internal", `block without column ${name}`);
    return found.values;
  };
  const start = find("start_unix_nano");
  const duration = find("duration_nano");
  let minStartNano = start[0];
  let maxStartNano = start[0];
  let maxEndNano = start[0];
  for (let row = 0; row < start.length; row++) {
    if (start[row] < minStartNano) minStartNano = start[row];
    if (start[row] > maxStartNano) maxStartNano = start[row];
    const end = duration[row] > 0n ? start[row] + duration[row] : start[row];
    if (end > maxEndNano) maxEndNano = end;
  }
  return { minStartNano, maxStartNano, maxEndNano };
}

/** The start of the last trace: traces are ordered by start, and so are the spans of each. */
function lastTraceStart(columns: readonly NamedColumn[]): bigint {
  const find = (name: string): Column | undefined =>
    columns.find((column) => column.name === name)?.column;
  const traces = find("trace_id");
  const start = find("start_unix_nano");
  if (traces?.kind !== "dict" || start?.kind !== "int64") {
    throw new SpoorError("Internal", "block without trace ids or starts");
  }
  return start.values[traces.codes.indexOf(traces.codes.at(-1)!)];
}

function* traceIdsOf(batch: ColumnBatch): Iterable<Uint8Array> {
  const column = columnOf(batch, "trace_id", "dict")!;
  let last = -1;
  for (const code of column.codes) {
    if (code !== last) yield valueBytes(column.dictionary, code);
    last = code;
  }
}

function least(values: readonly bigint[]): bigint {
  return values.reduce((a, b) => (b < a ? b : a));
}

function greatest(values: readonly bigint[]): bigint {
  return values.reduce((a, b) => (b > a ? b : a));
}
