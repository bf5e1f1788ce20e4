/**
 * The tag index: what attribute keys and values a row group (or a whole block) holds, so that a
 * planner can answer "can this hold it?" and auto-completion can answer without reading a row.
 *
 * For each column: how many rows have a value, minimum and maximum of numbers, and the distinct
 * values with their counts if they are few, else a bloom filter of them (1 % false positives) beside
 * the most frequent ones. Attributes in the rest lists appear under the same names as columns do.
 */
import {
  type Column,
  type ColumnBatch,
  isValid,
  valueBytes,
  valueText,
} from "#pkg/columns/columns.ts";
import { parseRestValue } from "#pkg/columns/rest-value.ts";
import { parseAttributeColumn } from "#pkg/columns/schema.ts";
import { bloomMayHold, type BloomShape, buildBloom, bytesHasher } from "./bloom.ts";

/** Most frequent values kept per key. */
const valuesMax = 1000;
/** Text of kept values per key, bytes: long values (statements, stack traces) are not listed. */
const valuesBytesMax = 24 * 1024;
/** Keys per row group; attributes beyond them make `truncated` true: any key may be there. */
const keysMax = 5000;

/** Columns that are indexed besides attributes. */
const intrinsicColumns = [
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
] as const;

export type TagType = "string" | "int64" | "double" | "bool" | "other";

export interface TagEntry {
  /** Column name (`span.http.method`, `name`, ...), without a type suffix. */
  key: string;
  type: TagType;
  /** How many rows have it. */
  rows: number;
  /** Numbers only, as decimal text; NaN counts for neither. */
  min?: string;
  max?: string;
  /** Values as text with their row counts, most frequent first. */
  values: [text: string, rows: number][];
  /** True if `values` is not all of them. */
  truncated: boolean;
  /** Filter of all values' UTF-8 text, when truncated. */
  bloom?: { shape: BloomShape; shards: string[] };
}

export interface TagIndex {
  entries: TagEntry[];
  /** True if there were more keys than are listed. */
  truncated: boolean;
}

/** Whether a row group with this index can hold `key` = `text` of that type. */
export function mayHoldValue(index: TagIndex, key: string, type: TagType, text: string): boolean {
  const entry = index.entries.find((e) => e.key === key && e.type === type);
  if (entry === undefined) return index.truncated;
  if (!entry.truncated) return entry.values.some(([value]) => value === text);
  if (entry.bloom === undefined) return true;
  const bytes = Buffer.from(text, "utf8");
  return entry.bloom.shards.some((shard) =>
    bloomMayHold(entry.bloom!.shape, Buffer.from(shard, "base64"), bytes, bytesHasher),
  );
}

/** The tag index of the rows of one row group. */
export function buildTagIndex(batch: ColumnBatch): TagIndex {
  const entries: TagEntry[] = [];
  for (const name of batch.names) {
    const attribute = parseAttributeColumn(name);
    const column = batch.column(name)!;
    if (attribute !== undefined) {
      entries.push(columnEntry(`${attribute.scope}.${attribute.key}`, column, batch.rows));
    } else if ((intrinsicColumns as readonly string[]).includes(name)) {
      entries.push(columnEntry(name, column, batch.rows));
    }
  }
  const rest = ["span", "resource", "scope"].flatMap((scope) => restEntries(batch, scope));
  const merged = mergeEntries([...entries, ...rest]);
  return { entries: merged.slice(0, keysMax), truncated: merged.length > keysMax };
}

/** The index of a block from those of its row groups; without filters, which stay per row group. */
export function mergeTagIndexes(indexes: readonly TagIndex[]): TagIndex {
  const merged = mergeEntries(
    indexes.flatMap(({ entries }) => entries.map(({ bloom: _bloom, ...entry }) => entry)),
  );
  return {
    entries: merged.slice(0, keysMax),
    truncated: merged.length > keysMax || indexes.some(({ truncated }) => truncated),
  };
}

/** Entries of the same key and type become one; most frequent keys first. */
function mergeEntries(entries: readonly TagEntry[]): TagEntry[] {
  const byKey = new Map<string, TagEntry[]>();
  for (const entry of entries) {
    const key = `${entry.type}\n${entry.key}`;
    const same = byKey.get(key);
    if (same === undefined) byKey.set(key, [entry]);
    else same.push(entry);
  }
  const merged = [...byKey.values()].map((same) => (same.length === 1 ? same[0] : merge(same)));
  return merged.sort((a, b) => b.rows - a.rows || (a.key < b.key ? -1 : 1));
}

function merge(entries: readonly TagEntry[]): TagEntry {
  const counts = new Map<string, number>();
  for (const { values } of entries) {
    for (const [text, rows] of values) counts.set(text, (counts.get(text) ?? 0) + rows);
  }
  const { type } = entries[0];
  const compare = type === "int64" ? compareInts : compareDoubles;
  const mins = entries.flatMap(({ min }) => min ?? []).sort(compare);
  const maxs = entries.flatMap(({ max }) => max ?? []).sort(compare);
  // A filter of one part says nothing about the others, so a merged entry of truncated parts has
  // none: "may hold anything".
  const { values, truncated } = mostFrequent([...counts]);
  return {
    key: entries[0].key,
    type,
    rows: entries.reduce((sum, entry) => sum + entry.rows, 0),
    min: mins[0],
    max: maxs.at(-1),
    values,
    truncated: truncated || entries.some((entry) => entry.truncated),
  };
}

function compareInts(a: string, b: string): number {
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

function compareDoubles(a: string, b: string): number {
  return Number(a) - Number(b);
}

function mostFrequent(counts: [string, number][]): {
  values: [string, number][];
  truncated: boolean;
} {
  counts.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const values: [string, number][] = [];
  let sizeBytes = 0;
  for (const pair of counts) {
    sizeBytes += pair[0].length + 8;
    if (values.length === valuesMax || sizeBytes > valuesBytesMax) break;
    values.push(pair);
  }
  return { values, truncated: values.length < counts.length };
}

function columnEntry(key: string, column: Column, rows: number): TagEntry {
  switch (column.kind) {
    case "dict":
      return dictEntry(key, column.codes, (code) => valueText(column.dictionary, code), {
        length: column.dictionary.length,
        bytes: (code) => valueBytes(column.dictionary, code),
      });
    case "list":
      return column.child.kind === "dict"
        ? columnEntry(key, column.child, column.child.codes.length)
        : { key, type: "other", rows, values: [], truncated: true };
    case "bool":
      return boolEntry(key, column.values, column.valid);
    default:
      return numberEntry(key, column, rows);
  }
}

function dictEntry(
  key: string,
  codes: Int32Array,
  text: (code: number) => string,
  dictionary: { length: number; bytes: (code: number) => Uint8Array },
): TagEntry {
  const counts = new Uint32Array(dictionary.length);
  let rows = 0;
  for (const code of codes) {
    if (code < 0) continue;
    counts[code]++;
    rows++;
  }
  let used = [...counts.keys()].filter((code) => counts[code] > 0);
  const distinct = used.length;
  if (distinct > valuesMax) {
    // Only the most frequent codes become text: of many values most occur once.
    used.sort((a, b) => counts[b] - counts[a]);
    used = used.slice(0, valuesMax);
  }
  const { values, truncated } = mostFrequent(used.map((code) => [text(code), counts[code]]));
  const entry: TagEntry = {
    key,
    type: "string",
    rows,
    values,
    truncated: truncated || distinct > valuesMax,
  };
  if (entry.truncated) {
    entry.bloom = textBloom(bytesOf(counts, dictionary.bytes), distinct);
  }
  return entry;
}

function* bytesOf(counts: Uint32Array, bytes: (code: number) => Uint8Array): Iterable<Uint8Array> {
  for (let code = 0; code < counts.length; code++) if (counts[code] > 0) yield bytes(code);
}

function textBloom(values: Iterable<Uint8Array>, count: number): TagEntry["bloom"] {
  const { bytes, ...shape } = buildBloom(values, count, bytesHasher);
  return { shape, shards: bytes.map((shard) => Buffer.from(shard).toString("base64")) };
}

function boolEntry(key: string, values: Uint8Array, valid: Uint8Array | undefined): TagEntry {
  const counts: [number, number] = [0, 0];
  for (let row = 0; row < values.length; row++) if (isValid(valid, row)) counts[values[row] & 1]++;
  const listed: [string, number][] = [];
  if (counts[1] > 0) listed.push(["true", counts[1]]);
  if (counts[0] > 0) listed.push(["false", counts[0]]);
  const rows = counts[0] + counts[1];
  return { key, type: "bool", rows, values: listed, truncated: false };
}

function numberEntry(
  key: string,
  column: Extract<Column, { kind: "int64" | "int32" | "double" }>,
  rows: number,
): TagEntry {
  const counts = new Map<bigint | number, number>();
  let min: bigint | number | undefined;
  let max: bigint | number | undefined;
  let present = 0;
  let truncated = false;
  for (let row = 0; row < rows; row++) {
    if (!isValid(column.valid, row)) continue;
    present++;
    const value = column.values[row];
    if (Number.isNaN(value)) truncated = true;
    else {
      if (min === undefined || value < min) min = value;
      if (max === undefined || value > max) max = value;
    }
    const count = counts.get(value);
    if (count !== undefined) counts.set(value, count + 1);
    else if (counts.size < valuesMax) counts.set(value, 1);
    else truncated = true;
  }
  const listed = truncated
    ? { values: [], truncated }
    : mostFrequent([...counts].map(([value, count]) => [String(value), count]));
  return {
    key,
    type: column.kind === "double" ? "double" : "int64",
    rows: present,
    min: min === undefined ? undefined : String(min),
    max: max === undefined ? undefined : String(max),
    ...listed,
  };
}

/** Entries for attributes of one scope that are in the rest lists. */
function restEntries(batch: ColumnBatch, scope: string): TagEntry[] {
  const keys = batch.column(`${scope}_rest_key`);
  const values = batch.column(`${scope}_rest_value`);
  if (keys?.kind !== "list" || keys.child.kind !== "dict") return [];
  if (values?.kind !== "list" || values.child.kind !== "dict") return [];
  const pairs = new Map<number, Map<number, number>>();
  for (let i = 0; i < keys.child.codes.length; i++) {
    const key = keys.child.codes[i];
    const value = values.child.codes[i];
    const counts = pairs.get(key);
    if (counts === undefined) pairs.set(key, new Map([[value, 1]]));
    else counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  const out: TagEntry[] = [];
  for (const [key, counts] of pairs) {
    const name = `${scope}.${valueText(keys.child.dictionary, key)}`;
    out.push(...restKeyEntries(name, counts, values.child.dictionary));
  }
  return out;
}

function restKeyEntries(
  key: string,
  counts: ReadonlyMap<number, number>,
  dictionary: Parameters<typeof valueText>[0],
): TagEntry[] {
  const byType = new Map<TagType, [string, number][]>();
  for (const [code, rows] of counts) {
    const value = parseRestValue(valueText(dictionary, code));
    const [type, text] = restText(value);
    const list = byType.get(type);
    if (list === undefined) byType.set(type, [[text, rows]]);
    else list.push([text, rows]);
  }
  return [...byType].map(([type, list]) => {
    const rows = list.reduce((sum, [, count]) => sum + count, 0);
    if (type === "other") return { key, type, rows, values: [], truncated: true };
    const numbers = type === "int64" || type === "double";
    const sorted = numbers
      ? list
          .map(([text]) => text)
          .filter((text) => text !== "NaN")
          .sort(type === "int64" ? compareInts : compareDoubles)
      : [];
    const distinct = list.map(([text]) => Buffer.from(text, "utf8"));
    const { values, truncated } = mostFrequent(list);
    const entry: TagEntry = {
      key,
      type,
      rows,
      min: sorted[0],
      max: sorted.at(-1),
      values,
      truncated,
    };
    if (truncated) entry.bloom = textBloom(distinct, distinct.length);
    return entry;
  });
}

function restText(value: ReturnType<typeof parseRestValue>): [TagType, string] {
  switch (value.kind) {
    case "string":
      return ["string", value.value];
    case "int":
      return ["int64", String(value.value)];
    case "double":
      return ["double", String(value.value)];
    case "bool":
      return ["bool", String(value.value)];
    default:
      return ["other", ""];
  }
}
