/** Counts names of attributes and their values in a batch of spans. */
import type { IntrinsicName } from "#pkg/traceql/traceql.ts";
import type { TagCounts, TagReference, TagScope, TagsRequest } from "#pkg/api/api.ts";
import { listAttributes } from "#pkg/block/index/tag-lists.ts";
import { countInts, wordsOf } from "#pkg/block/index/value-counts.ts";
import {
  attributeColumnName,
  type Column,
  type ColumnBatch,
  columnKeyPattern,
  columnOf,
  columnPrefix,
  type DictColumn,
  HeadBatch,
  isValid,
  parseAttributeColumn,
  parseRestValue,
  valueText,
} from "#pkg/columns/columns.ts";
import type { AnyValue } from "#pkg/otlp/otlp.ts";
import { evaluateFilter } from "#pkg/engine/condition/filter.ts";
import { SpanTimes } from "#pkg/engine/trace/span-times.ts";
import { headRoots } from "./tag-roots.ts";
import { TagCounter } from "./tag-counter.ts";
import { listedColumn, scalarTypes, valueTypes } from "./tag-names.ts";

/** The rows that match the filter, if it was evaluated already. */
export interface KnownRows {
  /** 1 for each row that matches. */
  hits: Uint8Array;
  /** Whether all rows are in the range. */
  isInside: boolean;
}

/**
 * Counts the names or values of the request. Throws InvalidInput (`traceql_value`) if the filter
 * cannot be evaluated over these spans.
 */
export function countTags(batch: ColumnBatch, request: TagsRequest, known?: KnownRows): TagCounts {
  const counter = new TagCounter(request.bytesMax);
  const selection = selectedRows(batch, request, known);
  if (selection === undefined || selection.includes(1)) {
    const counting = new TagCounting(batch, selection, counter);
    const { question } = request;
    if (question.kind === "names") for (const scope of question.scopes) counting.names(scope);
    else for (const reference of question.references) counting.values(reference);
  }
  return { ...counter.counts(), inspectedSpans: batch.rows };
}

/** Returns the rows in the range that match the filter; undefined without a filter: all rows. */
function selectedRows(
  batch: ColumnBatch,
  request: TagsRequest,
  known: KnownRows | undefined,
): Uint8Array | undefined {
  if (request.filter === undefined) return undefined;
  if (known?.isInside === true) return known.hits;
  const times = new SpanTimes(batch);
  const inRange = new Uint8Array(batch.rows);
  for (let row = 0; row < batch.rows; row++) if (times.overlaps(row, request)) inRange[row] = 1;
  if (known === undefined) return evaluateFilter(batch, request.filter, inRange);
  for (let row = 0; row < inRange.length; row++) inRange[row] &= known.hits[row];
  return inRange;
}

class TagCounting {
  readonly #batch: ColumnBatch;
  readonly #selection: Uint8Array | undefined;
  readonly #counter: TagCounter;

  constructor(batch: ColumnBatch, selection: Uint8Array | undefined, counter: TagCounter) {
    this.#batch = batch;
    this.#selection = selection;
    this.#counter = counter;
  }

  names(scope: TagScope): void {
    if (scope === "event" || scope === "link") this.#listNames(scope);
    else {
      if (scope !== "instrumentation") this.#columnNames(scope);
      this.#restNames(scope);
    }
  }

  #columnNames(scope: "span" | "resource"): void {
    const batch = this.#batch;
    if (batch instanceof HeadBatch && this.#selection === undefined) {
      for (const [name, rows] of batch.attributeRows()) {
        const attribute = parseAttributeColumn(name);
        if (attribute?.scope === scope) this.#counter.add(scope, attribute.key, rows);
      }
      return;
    }
    const names = batch instanceof HeadBatch ? batch.attributeRows().keys() : batch.names;
    for (const name of names) {
      const attribute = parseAttributeColumn(name);
      if (attribute?.scope !== scope) continue;
      this.#counter.add(scope, attribute.key, presentRows(batch, name, this.#selection));
    }
  }

  #restNames(scope: TagScope): void {
    const keys = columnOf(this.#batch, `${columnPrefix(scope)}_rest_key`, "list");
    if (keys?.child.kind !== "dict") return;
    const { dictionary, codes } = keys.child;
    const counts = new Uint32Array(dictionary.length);
    // By key: the last row with it, from 1. A key that a span has twice counts once.
    const seen = new Uint32Array(dictionary.length);
    for (let row = 0; row < this.#batch.rows; row++) {
      if (!isSelected(this.#selection, row)) continue;
      for (let i = keys.offsets[row]; i < keys.offsets[row + 1]; i++) {
        if (seen[codes[i]] !== row + 1) counts[codes[i]]++;
        seen[codes[i]] = row + 1;
      }
    }
    for (let code = 0; code < counts.length; code++) {
      if (counts[code] > 0) this.#counter.add(scope, valueText(dictionary, code), counts[code]);
    }
  }

  #listNames(scope: "event" | "link"): void {
    this.#eachListAttribute(scope, ({ key }, count) => this.#counter.add(scope, key, count));
  }

  values(reference: TagReference): void {
    if (reference.kind === "intrinsic") {
      this.#intrinsicValues(reference.name);
      return;
    }
    const { scope, name } = reference;
    if (scope === "event" || scope === "link") {
      this.#eachListAttribute(scope, ({ key, type, text }, count) => {
        if (key === name && type !== "other") this.#counter.add(valueTypes[type], text, count);
      });
      return;
    }
    if (scope !== "instrumentation" && columnKeyPattern.test(name)) {
      for (const type of scalarTypes) {
        const column = this.#batch.column(attributeColumnName(scope, name, type));
        if (column !== undefined) this.#columnValues(column);
      }
    }
    this.#restValues(scope, name);
  }

  #intrinsicValues(name: IntrinsicName): void {
    const column = listedColumn(name);
    if (column === undefined) return;
    if (this.#batch instanceof HeadBatch && column.startsWith("root_")) {
      const roots = headRoots(this.#batch, column === "root_name" ? "name" : "service");
      if (roots !== undefined) this.#columnValues(roots);
      return;
    }
    const found = this.#batch.column(column);
    if (found?.kind === "list" && found.child.kind === "dict") {
      this.#codeValues(this.#itemCounts(found.offsets, found.child), found.child);
    } else if (found !== undefined) this.#columnValues(found);
  }

  #columnValues(column: Column): void {
    const { rows } = this.#batch;
    switch (column.kind) {
      case "dict":
        this.#codeValues(codeCounts(column, this.#selection), column);
        break;
      case "int64": {
        const valid = selectedBits(column.valid, this.#selection, rows);
        const ints = countInts(wordsOf(column.values), valid, rows);
        for (let i = 0; i < ints.length; i++) {
          const value = (BigInt(ints.high[i]) << 32n) | BigInt(ints.low[i] >>> 0);
          this.#counter.add("int", String(value), ints.counts[i]);
        }
        break;
      }
      case "double":
      case "bool":
        this.#numberValues(column.values, column.valid, column.kind);
        break;
      default:
    }
  }

  #codeValues(counts: Uint32Array, { dictionary }: DictColumn): void {
    for (let code = 0; code < counts.length; code++) {
      if (counts[code] > 0) this.#counter.add("string", valueText(dictionary, code), counts[code]);
    }
  }

  #numberValues(
    values: Float64Array | Uint8Array,
    valid: Uint8Array | undefined,
    kind: "double" | "bool",
  ): void {
    const counts = new Map<number, number>();
    for (let row = 0; row < this.#batch.rows; row++) {
      if (!isValid(valid, row) || !isSelected(this.#selection, row)) continue;
      counts.set(values[row], (counts.get(values[row]) ?? 0) + 1);
    }
    for (const [value, count] of counts) {
      if (kind === "double") this.#counter.add("float", String(value), count);
      else this.#counter.add("bool", value === 1 ? "true" : "false", count);
    }
  }

  /** Counts values of a key in the rest lists; parses each distinct value once. */
  #restValues(scope: TagScope, name: string): void {
    const keys = columnOf(this.#batch, `${columnPrefix(scope)}_rest_key`, "list");
    const values = columnOf(this.#batch, `${columnPrefix(scope)}_rest_value`, "list");
    if (keys?.child.kind !== "dict" || values?.child.kind !== "dict") return;
    const wanted = codesOf(keys.child, name);
    if (!wanted.includes(1)) return;
    const counts = new Uint32Array(values.child.dictionary.length);
    for (let row = 0; row < this.#batch.rows; row++) {
      if (!isSelected(this.#selection, row)) continue;
      // If a span has the key more than once, the last value counts.
      let last = -1;
      for (let i = keys.offsets[row]; i < keys.offsets[row + 1]; i++) {
        if (wanted[keys.child.codes[i]] === 1) last = values.child.codes[i];
      }
      if (last >= 0) counts[last]++;
    }
    for (let code = 0; code < counts.length; code++) {
      if (counts[code] === 0) continue;
      const shown = shownValue(parseRestValue(valueText(values.child.dictionary, code)));
      if (shown !== undefined) this.#counter.add(shown.type, shown.text, counts[code]);
    }
  }

  #eachListAttribute(
    scope: "event" | "link",
    each: (one: ListAttribute, count: number) => void,
  ): void {
    const lists = columnOf(this.#batch, `${scope}_attributes`, "list");
    if (lists?.child.kind !== "dict") return;
    const counts = this.#itemCounts(lists.offsets, lists.child);
    for (let code = 0; code < counts.length; code++) {
      if (counts[code] === 0) continue;
      for (const one of listAttributes(lists.child.dictionary, code) ?? []) each(one, counts[code]);
    }
  }

  /** Counts the occurrences of each code among the items of the selected rows. */
  #itemCounts(offsets: Int32Array, { codes, dictionary }: DictColumn): Uint32Array {
    const counts = new Uint32Array(dictionary.length);
    for (let row = 0; row < this.#batch.rows; row++) {
      if (!isSelected(this.#selection, row)) continue;
      for (let i = offsets[row]; i < offsets[row + 1]; i++) counts[codes[i]]++;
    }
    return counts;
  }
}

type ListAttribute = NonNullable<ReturnType<typeof listAttributes>>[number];

function isSelected(selection: Uint8Array | undefined, row: number): boolean {
  return selection === undefined || selection[row] === 1;
}

function codeCounts(
  { codes, dictionary }: DictColumn,
  selection: Uint8Array | undefined,
): Uint32Array {
  const counts = new Uint32Array(dictionary.length);
  for (let row = 0; row < codes.length; row++) {
    if (codes[row] >= 0 && isSelected(selection, row)) counts[codes[row]]++;
  }
  return counts;
}

function presentRows(batch: ColumnBatch, name: string, selection: Uint8Array | undefined): number {
  const column = batch.column(name);
  if (column === undefined || column.kind === "list") return 0;
  let count = 0;
  for (let row = 0; row < batch.rows; row++) {
    const isThere = column.kind === "dict" ? column.codes[row] >= 0 : isValid(column.valid, row);
    if (isThere && isSelected(selection, row)) count++;
  }
  return count;
}

/** Returns a bitmap of the rows that are valid and selected. */
function selectedBits(
  valid: Uint8Array | undefined,
  selection: Uint8Array | undefined,
  rows: number,
): Uint8Array | undefined {
  if (selection === undefined) return valid;
  const bits = new Uint8Array((rows + 7) >> 3);
  for (let row = 0; row < rows; row++) {
    if (selection[row] === 1 && isValid(valid, row)) bits[row >> 3] |= 1 << (row & 7);
  }
  return bits;
}

/** Marks with 1 each code whose text is `text`. */
function codesOf({ dictionary }: DictColumn, text: string): Uint8Array {
  const wanted = new Uint8Array(dictionary.length);
  for (let code = 0; code < dictionary.length; code++) {
    if (valueText(dictionary, code) === text) wanted[code] = 1;
  }
  return wanted;
}

function shownValue(
  value: AnyValue,
): { type: "string" | "int" | "float" | "bool"; text: string } | undefined {
  switch (value.kind) {
    case "string":
      return { type: "string", text: value.value };
    case "int":
      return { type: "int", text: String(value.value) };
    case "double":
      return { type: "float", text: String(value.value) };
    case "bool":
      return { type: "bool", text: String(value.value) };
    default:
      return undefined;
  }
}
