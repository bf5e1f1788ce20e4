/**
 * Verifies tag indexes against the rows. It counts values from the rows one by one and shares no
 * code with the builder of indexes.
 */
import {
  type Column,
  type ColumnBatch,
  columnOf,
  parseAttributeColumn,
  parseRestValue,
  scalarValue,
  valueText,
} from "#pkg/columns/columns.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import { type AnyValue, type KeyValue, parseAttributesJson } from "#pkg/otlp/otlp.ts";
import { type Findings } from "./findings.ts";
import { intrinsicColumns } from "#pkg/block/index/tag-build.ts";
import type { ItemScope, TagEntry, TagIndex, TagType } from "#pkg/block/index/tag-index.ts";
import { TagValues } from "#pkg/block/index/tag-values.ts";

/** The values of one key and type in the rows. */
interface Truth {
  key: string;
  type: TagType;
  rows: number;
  counts: Map<string, number>;
  /**
   * Counts that include values overridden by a later value of the key in the same list. Older
   * versions counted these too.
   */
  allRows: number;
  allCounts: Map<string, number>;
}

/** Checks the tag index of a row group against its rows. */
export function checkTags(
  batch: ColumnBatch,
  index: TagIndex,
  place: string,
  findings: Findings,
): void {
  const truths = countTags(batch, index.covers);
  const entries = new Map(index.entries.map((entry) => [entryName(entry), entry]));
  if (entries.size !== index.entries.length) {
    findings.add("tag_index", place, "a key is in the tag index twice");
  }
  for (const [name, truth] of truths) {
    const entry = entries.get(name);
    if (entry !== undefined) checkEntry(entry, truth, place, findings);
    else if (!index.truncated && truth.rows > 0) {
      findings.add("tag_index", place, `key ${truth.key} of type ${truth.type} is missing`);
    }
  }
  for (const [name, entry] of entries) {
    if (truths.has(name) || entry.rows === 0) continue;
    findings.add("tag_index", place, `no row has key ${entry.key} of type ${entry.type}`);
  }
}

function entryName({ type, key }: { type: TagType; key: string }): string {
  return `${type}\n${key}`;
}

function checkEntry(entry: TagEntry, truth: Truth, place: string, findings: Findings): void {
  const at = `${place}, key ${entry.key} (${entry.type})`;
  const fail = (message: string): void => findings.add("tag_index", at, message);
  const isOlder = entry.rows !== truth.rows && entry.rows === truth.allRows;
  const counts = isOlder ? truth.allCounts : truth.counts;
  if (entry.rows !== truth.rows && !isOlder) {
    fail(`the index says ${entry.rows} rows have it, ${truth.rows} rows do`);
  }
  for (const [text, rows] of entry.values) {
    const found = counts.get(text) ?? 0;
    const isRight = entry.truncated ? rows <= found && rows > 0 : rows === found;
    if (!isRight) fail(`the index says ${rows} rows have ${shown(text)}, ${found} rows do`);
  }
  if (entry.type === "other") return;
  const values = new TagValues(entry);
  for (const text of counts.keys()) {
    if (!values.mayHold(text)) fail(`value ${shown(text)} is missing`);
    if (!isInRange(entry, text)) fail(`value ${text} is outside ${entry.min} to ${entry.max}`);
  }
}

function isInRange({ type, min, max }: TagEntry, text: string): boolean {
  if (type === "int64") {
    const value = BigInt(text);
    return (
      (min === undefined || BigInt(min) <= value) && (max === undefined || BigInt(max) >= value)
    );
  }
  if (type !== "double" || text === "NaN") return true;
  const value = Number(text);
  return (min === undefined || Number(min) <= value) && (max === undefined || Number(max) >= value);
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);
}

function countTags(batch: ColumnBatch, covers: readonly ItemScope[]): Map<string, Truth> {
  const truths = new Map<string, Truth>();
  const count = (key: string, value: AnyValue | undefined, isLast = true): void => {
    if (value === undefined) return;
    const [type, text] = typed(value);
    const name = entryName({ type, key });
    let truth = truths.get(name);
    if (truth === undefined) {
      truth = { key, type, rows: 0, counts: new Map(), allRows: 0, allCounts: new Map() };
      truths.set(name, truth);
    }
    truth.allRows++;
    truth.allCounts.set(text, (truth.allCounts.get(text) ?? 0) + 1);
    if (!isLast) return;
    truth.rows++;
    truth.counts.set(text, (truth.counts.get(text) ?? 0) + 1);
  };
  for (const name of batch.names) {
    const attribute = parseAttributeColumn(name);
    if (attribute === undefined && !intrinsicColumns.includes(name)) continue;
    if (name === "link_span_id" && !covers.includes("link")) continue;
    const key = attribute === undefined ? name : `${attribute.scope}.${attribute.key}`;
    for (const value of valuesOf(batch.column(name)!, batch.rows)) count(key, value);
  }
  for (const scope of ["span", "resource", "scope"]) {
    const keys = columnOf(batch, `${scope}_rest_key`, "list");
    const values = columnOf(batch, `${scope}_rest_value`, "list");
    if (keys?.child.kind !== "dict" || values?.child.kind !== "dict") continue;
    for (let row = 0; row < batch.rows; row++) {
      const seen = new Set<string>();
      for (let i = keys.offsets[row + 1] - 1; i >= keys.offsets[row]; i--) {
        const key = valueText(keys.child.dictionary, keys.child.codes[i]);
        const text = valueText(values.child.dictionary, values.child.codes[i]);
        count(`${scope}.${key}`, parseRestValue(text), !seen.has(key));
        seen.add(key);
      }
    }
  }
  for (const scope of covers) {
    for (const list of itemAttributes(batch, scope)) {
      const seen = new Set<string>();
      for (const { key, value } of list.toReversed()) {
        count(`${scope}.${key}`, value, !seen.has(key));
        seen.add(key);
      }
    }
  }
  return truths;
}

/** Yields the attributes of every event, or of every link. */
function* itemAttributes(batch: ColumnBatch, scope: ItemScope): Iterable<KeyValue[]> {
  const lists = columnOf(batch, `${scope}_attributes`, "list");
  if (lists?.child.kind !== "dict") return;
  const { codes, dictionary } = lists.child;
  const known: KeyValue[][] = [];
  for (const code of codes) {
    yield (known[code] ??= parsedAttributes(valueText(dictionary, code)));
  }
}

/** Parses attributes; returns none for invalid text, which verify-rows.ts reports. */
function parsedAttributes(text: string): KeyValue[] {
  try {
    return parseAttributesJson(text);
  } catch (error) {
    if (hasCode(error, "InvalidInput")) return [];
    throw error;
  }
}

/** Yields the value of each row, or of each item of each row. */
function* valuesOf(column: Column, rows: number): Iterable<AnyValue | undefined> {
  if (column.kind === "list") yield* valuesOf(column.child, column.offsets[rows]);
  else if (column.kind === "dict" && column.type === "binary") {
    for (const _id of column.codes) yield { kind: "bytes", value: new Uint8Array(0) };
  } else if (column.kind === "int32") {
    for (const value of column.values) yield { kind: "int", value: BigInt(value) };
  } else for (let row = 0; row < rows; row++) yield scalarValue(column, row);
}

function typed(value: AnyValue): [TagType, string] {
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

/** Checks the block's tag index against the indexes of its row groups. */
export function checkMergedTags(
  index: TagIndex,
  parts: readonly TagIndex[],
  findings: Findings,
): void {
  const place = "tag index of the block";
  const merged = new Map(index.entries.map((entry) => [entryName(entry), entry]));
  const rows = new Map<string, number>();
  for (const part of parts) {
    if (part.truncated && !index.truncated) {
      findings.add("tag_index", place, "it claims to have all keys, a row group's index does not");
    }
    for (const scope of index.covers) {
      if (part.covers.includes(scope)) continue;
      const message = `it claims to have all keys of ${scope}s, a row group's index does not`;
      findings.add("tag_index", place, message);
    }
    for (const entry of part.entries) {
      const name = entryName(entry);
      rows.set(name, (rows.get(name) ?? 0) + entry.rows);
      const whole = merged.get(name);
      if (whole !== undefined) checkCovers(whole, entry, findings);
      else if (!index.truncated) findings.add("tag_index", place, `key ${entry.key} is missing`);
    }
  }
  for (const [name, entry] of merged) {
    const expected = rows.get(name) ?? 0;
    // A truncated part may have values of a key that it does not list.
    const isRight = index.truncated ? entry.rows >= expected : entry.rows === expected;
    if (isRight) continue;
    const at = `${place}, key ${entry.key} (${entry.type})`;
    const message = `it says ${entry.rows} rows, its row groups have ${expected}`;
    findings.add("tag_index", at, message);
  }
}

function checkCovers(whole: TagEntry, part: TagEntry, findings: Findings): void {
  const at = `tag index of the block, key ${whole.key} (${whole.type})`;
  if (part.truncated && !whole.truncated) {
    findings.add("tag_index", at, "it claims to have all values, a row group's index does not");
  }
  const values = new TagValues(whole);
  for (const [text] of part.values) {
    if (!values.mayHold(text)) findings.add("tag_index", at, `value ${shown(text)} is missing`);
  }
  for (const text of [part.min, part.max]) {
    if (text !== undefined && !isInRange(whole, text)) {
      findings.add("tag_index", at, `value ${text} is outside ${whole.min} to ${whole.max}`);
    }
  }
}
