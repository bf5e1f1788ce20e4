/**
 * The tag index: the attribute keys and values of a row group or of a whole block. A planner uses
 * it to skip row groups, and auto-completion uses it instead of reading rows.
 *
 * For each key and type it has the number of values, the minimum and maximum of numbers, and
 * distinct values with their counts. If there are many distinct values, only the most frequent ones
 * are listed, and a row group's index has a bloom filter of all. Attributes in the rest lists have
 * the same names as attributes with a column. tag-build.ts builds an index, tag-schema.ts validates
 * one that was read, tag-values.ts queries it.
 */
import type { BloomShape } from "./bloom.ts";

/** Most values listed per key. */
export const valuesMax = 1000;
/** Values that occur once are listed up to this many entries if not all values can be listed. */
export const examplesMax = 20;
/** Most text of listed values per key, bytes. */
const valuesBytesMax = 24 * 1024;
/** Longest listed value, bytes: excludes statements and stack traces. */
const valueBytesMax = 1024;
/** Most keys per index. With more, `truncated` is true: the row group may have any key. */
export const keysMax = 5000;
/** Most text of listed values of a whole index, bytes: bounds the memory of a reader. */
const indexValuesBytesMax = 4 * 1024 * 1024;

export type TagType = "string" | "int64" | "double" | "bool" | "other";

export interface TagEntry {
  /** Column name (`span.http.method`, `name`, ...), without a type suffix. */
  key: string;
  type: TagType;
  /** Number of values: one per span (or event or link) that has the key. */
  rows: number;
  /** Numbers only, as decimal text; NaN is ignored. Absent: unknown. */
  min?: string;
  max?: string;
  /**
   * Values as text with their counts, most frequent first. In a merged index, counts of a truncated
   * entry are lower bounds.
   */
  values: [text: string, rows: number][];
  /** True if `values` does not list all values. */
  truncated: boolean;
  /** Filter of all values' UTF-8 text, when truncated; shards as base64. */
  bloom?: { shape: BloomShape; shards: string[] };
}

/** The items of a span that have attributes of their own. */
export type ItemScope = "event" | "link";
export const itemScopes: readonly ItemScope[] = ["event", "link"];

export interface TagIndex {
  /** Most frequent keys first. */
  entries: TagEntry[];
  /** True if there were more keys than are listed. */
  truncated: boolean;
  /**
   * Item scopes whose attributes this index holds, besides those of spans, resources and scopes. A
   * missing key of another item scope proves nothing. Indexes of version 1 cover none.
   */
  covers: readonly ItemScope[];
}

/** Merges the indexes of row groups to the index of their block, without filters. */
export function mergeTagIndexes(indexes: readonly TagIndex[]): TagIndex {
  const all = indexes.flatMap(({ entries }) => entries);
  const byKey = Map.groupBy(all, ({ type, key }) => `${type}\n${key}`);
  const entries = sortEntries([...byKey.values()].map(mergeEntry));
  const truncated = indexes.some((index) => index.truncated);
  const covers = itemScopes.filter((scope) => indexes.every((one) => one.covers.includes(scope)));
  return boundIndex({ entries, truncated, covers });
}

/** Truncates an index to its limits. `entries` must be sorted, most frequent first. */
export function boundIndex({ entries, truncated, covers }: TagIndex): TagIndex {
  const kept = entries.slice(0, keysMax);
  let sizeBytes = 0;
  const bounded = kept.map((entry) => {
    for (const [text] of entry.values) sizeBytes += Buffer.byteLength(text) + 8;
    if (sizeBytes <= indexValuesBytesMax || entry.values.length === 0) return entry;
    return { ...entry, values: [], truncated: true };
  });
  return { entries: bounded, truncated: truncated || kept.length < entries.length, covers };
}

/** Sorts entries in place by number of values, descending: truncation then drops the rarest. */
export function sortEntries(entries: TagEntry[]): TagEntry[] {
  return entries.sort((a, b) => b.rows - a.rows || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}

/** Merges entries of one key and type, without a filter: if truncated, it may hold any value. */
export function mergeEntry(entries: readonly TagEntry[]): TagEntry {
  const counts = new Map<string, number>();
  for (const { values } of entries) {
    for (const [text, rows] of values) counts.set(text, (counts.get(text) ?? 0) + rows);
  }
  const { key, type } = entries[0];
  const mins = entries.flatMap(({ min }) => min ?? []).sort(comparing(type));
  const maxs = entries.flatMap(({ max }) => max ?? []).sort(comparing(type));
  const { values, truncated } = mostFrequent([...counts]);
  return {
    key,
    type,
    rows: entries.reduce((sum, entry) => sum + entry.rows, 0),
    min: mins[0],
    max: maxs.at(-1),
    values,
    truncated: truncated || entries.some((entry) => entry.truncated),
  };
}

/** Returns a comparator of numbers of this type, given as text. */
export function comparing(type: TagType): (a: string, b: string) => number {
  if (type !== "int64") return (a, b) => Number(a) - Number(b);
  return (a, b) => {
    const difference = BigInt(a) - BigInt(b);
    return difference < 0n ? -1 : difference > 0n ? 1 : 0;
  };
}

/** Selects the values to list from all distinct values. Sorts `counts` in place. */
export function mostFrequent(counts: [string, number][]): {
  values: [string, number][];
  truncated: boolean;
} {
  counts.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const isMany = counts.length > valuesMax;
  const values: [string, number][] = [];
  let sizeBytes = 0;
  for (const pair of counts) {
    if (values.length === valuesMax) break;
    if (isMany && pair[1] === 1 && values.length >= examplesMax) break;
    const textBytes = Buffer.byteLength(pair[0]);
    if (textBytes > valueBytesMax) continue;
    sizeBytes += textBytes + 8;
    if (sizeBytes > valuesBytesMax) break;
    values.push(pair);
  }
  return { values, truncated: values.length < counts.length };
}
