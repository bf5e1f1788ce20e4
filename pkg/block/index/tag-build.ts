// HOT: runs per value at each cut; measured by `npm run bench` (cut).
/** Builds the tag index (tag-index.ts) of one row group. */
import {
  type ByteValues,
  type Column,
  type ColumnBatch,
  type DictColumn,
  type DoubleColumn,
  type Int32Column,
  type Int64Column,
  isValid,
  parseAttributeColumn,
  valueBytes,
  valueText,
} from "#pkg/columns/columns.ts";
import { bloomRate, bloomRateOf, buildBloom, bytesHasher } from "./bloom.ts";
import { listDrafts } from "./tag-lists.ts";
import { type Draft, restCounts } from "./tag-rest.ts";
import {
  boundIndex,
  type ItemScope,
  mergeEntry,
  mostFrequent,
  sortEntries,
  type TagEntry,
  type TagIndex,
  valuesMax,
} from "./tag-index.ts";
import {
  countCodes,
  countInts,
  type IntCounts,
  rangeOf,
  topCounts,
  wordsOf,
} from "./value-counts.ts";

/** Indexed columns that are not attributes. */
export const intrinsicColumns: readonly string[] = [
  "name",
  "kind",
  "status",
  "status_message",
  "trace_state",
  "scope_name",
  "scope_version",
  "root_name",
  "root_service",
  "duration_nano",
  "trace_duration_nano",
  "event_name",
  "link_span_id",
];

/** Columns of which only the range is kept: most values are distinct and filters use ranges. */
const rangeColumns = new Set(["duration_nano", "trace_duration_nano"]);

/**
 * Builds the tag index of the rows of one row group.
 *
 * @param bloomBytesMax most bytes of all filters together. Strings with the fewest distinct values
 *   come first. A truncated entry without a filter means "may hold any value".
 */
export function buildTagIndex(batch: ColumnBatch, bloomBytesMax: number): TagIndex {
  const drafts: Draft[] = [];
  for (const name of batch.names) {
    const attribute = parseAttributeColumn(name);
    const column = batch.column(name)!;
    if (attribute !== undefined) {
      drafts.push(draftColumn(`${attribute.scope}.${attribute.key}`, column, batch.rows));
    } else if (intrinsicColumns.includes(name)) {
      drafts.push(draftColumn(name, column, batch.rows));
    }
  }
  // No spread: a batch may have more distinct keys than a call may have arguments.
  for (const scope of ["span", "resource", "scope"]) {
    for (const draft of restCounts(batch, scope)) drafts.push(draft);
  }
  const covers: ItemScope[] = [];
  for (const scope of ["event", "link"] as const) {
    const found = listDrafts(batch, scope);
    if (found === undefined) continue;
    covers.push(scope);
    for (const draft of found) drafts.push(draft);
  }
  const merged = mergeDrafts(drafts.filter(({ entry }) => entry.rows > 0));
  addFilters(merged, bloomBytesMax);
  const entries = sortEntries(merged.map(({ entry }) => entry));
  return boundIndex({ entries, truncated: false, covers });
}

/**
 * Merges drafts of the same key and type. Such a key has values in a column and in the rest lists
 * (of spans that have it twice).
 */
function mergeDrafts(drafts: readonly Draft[]): Draft[] {
  const byKey = Map.groupBy(drafts, ({ entry }) => `${entry.type}\n${entry.key}`);
  return [...byKey.values()].map((same): Draft => {
    if (same.length === 1) return same[0];
    const texts = same.flatMap((draft) => draft.texts ?? []);
    return {
      entry: mergeEntry(same.map(({ entry }) => entry)),
      distinct: same.reduce((sum, { distinct }) => sum + distinct, 0),
      texts: texts.length === same.length ? () => chain(texts) : undefined,
    };
  });
}

function* chain(parts: readonly (() => Iterable<Uint8Array>)[]): Iterable<Uint8Array> {
  for (const part of parts) yield* part();
}

/** A filter with more false positives than this is not worth its bytes. */
const filterRateMax = 0.1;

/** Adds filters while bytes are left. The first one that does not fit gets a higher error rate. */
function addFilters(drafts: readonly Draft[], bytesMax: number): void {
  const wanted = drafts.filter(({ entry, texts }) => entry.truncated && texts !== undefined);
  const rank = ({ entry }: Draft): number => (entry.type === "string" ? 0 : 1);
  wanted.sort((a, b) => rank(a) - rank(b) || a.distinct - b.distinct);
  let left = bytesMax;
  for (const { entry, distinct, texts } of wanted) {
    const rate = Math.max(bloomRate, bloomRateOf((left * 8) / distinct));
    if (rate > filterRateMax) continue;
    const { bytes, ...shape } = buildBloom(texts!(), distinct, bytesHasher, rate);
    entry.bloom = { shape, shards: bytes.map((shard) => Buffer.from(shard).toString("base64")) };
    left -= (shape.shards * shape.bitsPerShard) / 8;
  }
}

function draftColumn(key: string, column: Column, rows: number): Draft {
  switch (column.kind) {
    case "dict":
      return draftDict(key, column);
    case "list":
      return draftColumn(key, column.child, column.offsets[rows]);
    case "bool":
      return draftBool(key, column.values, column.valid);
    default:
      if (rangeColumns.has(key)) return draftRange(key, column, rows);
      return column.kind === "double"
        ? draftDouble(key, column, rows)
        : draftInt(key, column, rows);
  }
}

function draftDict(key: string, { codes, dictionary, type }: DictColumn): Draft {
  // Ids are only counted.
  if (type === "binary") return draftOther(key, codes.length);
  const counts = countCodes(codes, dictionary.length);
  return draftCounts(key, counts, {
    text: (code) => valueText(dictionary, code),
    bytes: () => usedBytes(dictionary, counts),
  });
}

function draftOther(key: string, rows: number): Draft {
  const entry: TagEntry = { key, type: "other", rows, values: [], truncated: true };
  return { entry, distinct: 0, texts: undefined };
}

function* usedBytes(dictionary: ByteValues, counts: Uint32Array): Iterable<Uint8Array> {
  for (let code = 0; code < counts.length; code++) {
    if (counts[code] > 0) yield valueBytes(dictionary, code);
  }
}

/** Drafts a string entry from counts of distinct values; decodes only the most frequent values. */
function draftCounts(
  key: string,
  counts: Uint32Array,
  values: { text: (code: number) => string; bytes: () => Iterable<Uint8Array> },
): Draft {
  let rows = 0;
  let distinct = 0;
  for (let code = 0; code < counts.length; code++) {
    rows += counts[code];
    if (counts[code] > 0) distinct++;
  }
  // One more than the limit, so that mostFrequent sees that there are too many.
  const top = topCounts(counts, counts.length, valuesMax + 1);
  const listed = mostFrequent(top.map((code) => [values.text(code), counts[code]]));
  return { entry: { key, type: "string", rows, ...listed }, distinct, texts: values.bytes };
}

function draftBool(key: string, values: Uint8Array, valid: Uint8Array | undefined): Draft {
  const counts: [number, number] = [0, 0];
  for (let row = 0; row < values.length; row++) if (isValid(valid, row)) counts[values[row] & 1]++;
  const both: [string, number][] = [
    ["true", counts[1]],
    ["false", counts[0]],
  ];
  const listed = mostFrequent(both.filter(([, rows]) => rows > 0));
  const entry: TagEntry = { key, type: "bool", rows: counts[0] + counts[1], ...listed };
  return { entry, distinct: listed.values.length, texts: undefined };
}

function draftInt(key: string, column: Int64Column | Int32Column, rows: number): Draft {
  const ints = countInts(wordsOf(column.values), column.valid, rows);
  const top = topCounts(ints.counts, ints.length, valuesMax + 1);
  const { values, truncated } = mostFrequent(top.map((i) => [intText(ints, i), ints.counts[i]]));
  const entry: TagEntry = { key, type: "int64", rows: ints.rows, values, truncated };
  if (ints.length > 0) Object.assign(entry, intRange(ints));
  return { entry, distinct: ints.length, texts: () => intTexts(ints) };
}

function intRange(ints: IntCounts): { min: string; max: string } {
  const { low, high, length } = ints;
  let min = 0;
  let max = 0;
  for (let i = 1; i < length; i++) {
    if (high[i] < high[min] || (high[i] === high[min] && low[i] >>> 0 < low[min] >>> 0)) min = i;
    if (high[i] > high[max] || (high[i] === high[max] && low[i] >>> 0 > low[max] >>> 0)) max = i;
  }
  return { min: intText(ints, min), max: intText(ints, max) };
}

function intText({ low, high }: IntCounts, i: number): string {
  // Below 2^53 a double is exact.
  if (high[i] >= -0x20_0000 && high[i] < 0x20_0000) {
    return String(high[i] * 0x1_0000_0000 + (low[i] >>> 0));
  }
  return String((BigInt(high[i]) << 32n) | BigInt(low[i] >>> 0));
}

function* intTexts(ints: IntCounts): Iterable<Uint8Array> {
  for (let i = 0; i < ints.length; i++) yield Buffer.from(intText(ints, i), "latin1");
}

/** Drafts an entry of doubles. Stops counting if there are too many to list: filters use ranges. */
function draftDouble(key: string, column: DoubleColumn, rows: number): Draft {
  const counts = new Map<number, number>();
  let present = 0;
  let isMany = false;
  for (let row = 0; row < rows; row++) {
    if (!isValid(column.valid, row)) continue;
    present++;
    if (isMany) continue;
    const value = column.values[row];
    counts.set(value, (counts.get(value) ?? 0) + 1);
    isMany = counts.size > valuesMax;
  }
  const listed = isMany
    ? { values: [], truncated: true }
    : mostFrequent([...counts].map(([value, count]) => [String(value), count]));
  const entry: TagEntry = { key, type: "double", rows: present, ...listed };
  const range = rangeOf(column.values, column.valid, rows);
  if (range !== undefined) Object.assign(entry, textRange(range));
  return { entry, distinct: counts.size, texts: undefined };
}

function textRange({ min, max }: { min: number; max: number }): { min: string; max: string } {
  return { min: String(min), max: String(max) };
}

function draftRange(
  key: string,
  column: Int64Column | Int32Column | DoubleColumn,
  rows: number,
): Draft {
  const type = column.kind === "double" ? "double" : "int64";
  const entry: TagEntry = { key, type, rows: 0, values: [], truncated: true };
  for (let row = 0; row < rows; row++) if (isValid(column.valid, row)) entry.rows++;
  if (column.kind === "int64") {
    const range = wordRange(wordsOf(column.values), column.valid, rows);
    if (range !== undefined) Object.assign(entry, range);
  } else {
    const range = rangeOf(column.values, column.valid, rows);
    if (range !== undefined) Object.assign(entry, textRange(range));
  }
  return { entry, distinct: 0, texts: undefined };
}

/** Returns the least and greatest of 64-bit integers given as (low, high) words. */
function wordRange(
  words: Int32Array,
  valid: Uint8Array | undefined,
  rows: number,
): { min: string; max: string } | undefined {
  let min = -1;
  let max = -1;
  for (let row = 0; row < rows; row++) {
    if (!isValid(valid, row)) continue;
    if (min < 0 || isLess(words, row, min)) min = row;
    if (max < 0 || isLess(words, max, row)) max = row;
  }
  if (min < 0) return undefined;
  const text = (row: number): string =>
    String((BigInt(words[row * 2 + 1]) << 32n) | BigInt(words[row * 2] >>> 0));
  return { min: text(min), max: text(max) };
}

function isLess(words: Int32Array, a: number, b: number): boolean {
  const highA = words[a * 2 + 1];
  const highB = words[b * 2 + 1];
  return highA < highB || (highA === highB && words[a * 2] >>> 0 < words[b * 2] >>> 0);
}
