// HOT: runs per attribute in the rest lists at each cut; measured by `npm run bench` (cut).
/** Drafts tag index entries for attributes without a column: the rest lists of one scope. */
import {
  type ColumnBatch,
  type DictColumn,
  type ListColumn,
  parseRestValue,
  valueText,
} from "#pkg/columns/columns.ts";
import { comparing, mostFrequent, type TagEntry, type TagType } from "./tag-index.ts";

/** An entry, and the values for its filter if there are too many to list. */
export interface Draft {
  entry: TagEntry;
  distinct: number;
  /** UTF-8 text of each distinct value; undefined if no filter is wanted. */
  texts: (() => Iterable<Uint8Array>) | undefined;
}

/** Drafts entries for all keys in `<scope>_rest_key` and `<scope>_rest_value`. */
export function restCounts(batch: ColumnBatch, scope: string): Draft[] {
  const keys = batch.column(`${scope}_rest_key`);
  const values = batch.column(`${scope}_rest_value`);
  if (keys?.kind !== "list" || keys.child.kind !== "dict") return [];
  if (values?.kind !== "list" || values.child.kind !== "dict") return [];
  const keyDictionary = keys.child.dictionary;
  const byKey = countPairs(batch.rows, keys, values.child);
  return [...byKey].flatMap(([key, counts]) =>
    draftKey(`${scope}.${valueText(keyDictionary, key)}`, counts, values.child as DictColumn),
  );
}

/** Returns key code -> value code -> count. If a row has a key twice, its last value counts. */
function countPairs(
  rows: number,
  { offsets, child: keys }: ListColumn,
  values: DictColumn,
): Map<number, Map<number, number>> {
  const { codes, dictionary } = keys as DictColumn;
  const width = values.dictionary.length;
  const counts = new Map<number, number>();
  // The last row (from 1 on) that had the key, by key code.
  const seen = new Uint32Array(dictionary.length);
  for (let row = 0; row < rows; row++) {
    for (let i = offsets[row + 1] - 1; i >= offsets[row]; i--) {
      const key = codes[i];
      if (seen[key] === row + 1) continue;
      seen[key] = row + 1;
      const pair = key * width + values.codes[i];
      counts.set(pair, (counts.get(pair) ?? 0) + 1);
    }
  }
  const byKey = new Map<number, Map<number, number>>();
  for (const [pair, count] of counts) {
    const key = Math.floor(pair / width);
    let inner = byKey.get(key);
    if (inner === undefined) {
      inner = new Map();
      byKey.set(key, inner);
    }
    inner.set(pair % width, count);
  }
  return byKey;
}

function draftKey(key: string, counts: ReadonlyMap<number, number>, values: DictColumn): Draft[] {
  const byType = new Map<TagType, Map<string, number>>();
  for (const [code, rows] of counts) {
    const [type, text] = typedText(valueText(values.dictionary, code));
    let texts = byType.get(type);
    if (texts === undefined) {
      texts = new Map();
      byType.set(type, texts);
    }
    // 0 and -0 have equal text.
    texts.set(text, (texts.get(text) ?? 0) + rows);
  }
  return [...byType].map(([type, texts]) => draftType(key, type, [...texts]));
}

/** Drafts the entry of one key and type from its distinct values with their counts. */
export function draftType(key: string, type: TagType, list: [string, number][]): Draft {
  const rows = list.reduce((sum, [, count]) => sum + count, 0);
  if (type === "other") {
    return {
      entry: { key, type, rows, values: [], truncated: true },
      distinct: 0,
      texts: undefined,
    };
  }
  const entry: TagEntry = { key, type, rows, ...mostFrequent(list) };
  if (type === "int64" || type === "double") {
    const compare = comparing(type);
    const numbers = list.map(([text]) => text).filter((text) => text !== "NaN");
    if (numbers.length > 0) {
      entry.min = numbers.reduce((a, b) => (compare(b, a) < 0 ? b : a));
      entry.max = numbers.reduce((a, b) => (compare(b, a) > 0 ? b : a));
    }
  }
  const texts = (): Uint8Array[] => list.map(([text]) => Buffer.from(text, "utf8"));
  return { entry, distinct: list.length, texts: type === "double" ? undefined : texts };
}

/** Returns the type and text of a rest value (pkg/columns/rest-value.ts). */
function typedText(text: string): [TagType, string] {
  switch (text[0]) {
    case "s":
      return ["string", text.slice(1)];
    case "j":
      return ["other", ""];
    default: {
      const value = parseRestValue(text);
      if (value.kind === "int") return ["int64", String(value.value)];
      if (value.kind === "double") return ["double", String(value.value)];
      return value.kind === "bool" ? ["bool", String(value.value)] : ["other", ""];
    }
  }
}
