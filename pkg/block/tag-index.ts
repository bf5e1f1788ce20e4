/**
 * The tag index: what attribute keys and values a row group (or a whole block) holds, so that a
 * planner can answer "can this hold it?" and auto-completion can answer without reading a row.
 *
 * For each key and type: how many values there are, minimum and maximum of numbers, and the
 * distinct values with their counts if they are few, else the most frequent ones and, in a row
 * group, a bloom filter of all. Attributes in the rest lists appear under the same names as columns
 * do. tag-build.ts makes it, tag-schema.ts checks one that was read, tag-values.ts asks it.
 */
import type { BloomShape } from "./bloom.ts";

/** Most values listed per key. */
export const valuesMax = 1000;
/** Of values that occur once, where there are too many to list all: a few as examples. */
export const examplesMax = 20;
/** Text of listed values per key, bytes. */
const valuesBytesMax = 24 * 1024;
/** Longer values (statements, stack traces) are not listed, bytes. */
const valueBytesMax = 1024;
/** Keys per row group; attributes beyond them make `truncated` true: any key may be there. */
export const keysMax = 5000;
/** Text of listed values of a whole index, bytes: bounds what a reader has to take. */
const indexValuesBytesMax = 4 * 1024 * 1024;

export type TagType = "string" | "int64" | "double" | "bool" | "other";

export interface TagEntry {
  /** Column name (`span.http.method`, `name`, ...), without a type suffix. */
  key: string;
  type: TagType;
  /** How many values: one per span that has it, more where a span has several (events, repeats). */
  rows: number;
  /** Numbers only, as decimal text; NaN counts for neither. Absent: not known. */
  min?: string;
  max?: string;
  /**
   * Values as text with how often they occur, most frequent first. If truncated: at least so
   * often.
   */
  values: [text: string, rows: number][];
  /** True if `values` is not all of them. */
  truncated: boolean;
  /** Filter of all values' UTF-8 text, when truncated; shards as base64. */
  bloom?: { shape: BloomShape; shards: string[] };
}

/** What a span has several of, each with attributes of its own. */
export type ItemScope = "event" | "link";
export const itemScopes: readonly ItemScope[] = ["event", "link"];

export interface TagIndex {
  /** Most frequent keys first. */
  entries: TagEntry[];
  /** True if there were more keys than are listed. */
  truncated: boolean;
  /**
   * Scopes whose attributes are in this index beside those of spans, resources and scopes. Of
   * others it says nothing: indexes of version 1 have none of them.
   */
  covers: readonly ItemScope[];
}

/** The index of a block from those of its row groups; without filters, which stay per row group. */
export function mergeTagIndexes(indexes: readonly TagIndex[]): TagIndex {
  const all = indexes.flatMap(({ entries }) => entries);
  const byKey = Map.groupBy(all, ({ type, key }) => `${type}\n${key}`);
  const entries = sortEntries([...byKey.values()].map(mergeEntry));
  const truncated = indexes.some((index) => index.truncated);
  const covers = itemScopes.filter((scope) => indexes.every((one) => one.covers.includes(scope)));
  return boundIndex({ entries, truncated, covers });
}

/** Cuts an index to its bounds; entries come most frequent first. */
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

/** Most values first: the ones that matter when there are too many. */
export function sortEntries(entries: TagEntry[]): TagEntry[] {
  return entries.sort((a, b) => b.rows - a.rows || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}

/** Entries of one key and type as one, without a filter: "may hold anything" if truncated. */
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

/** Order of two numbers of a type as text. */
export function comparing(type: TagType): (a: string, b: string) => number {
  if (type !== "int64") return (a, b) => Number(a) - Number(b);
  return (a, b) => {
    const difference = BigInt(a) - BigInt(b);
    return difference < 0n ? -1 : difference > 0n ? 1 : 0;
  };
}

/** The values to list of all distinct ones. Sorts `counts`. */
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
