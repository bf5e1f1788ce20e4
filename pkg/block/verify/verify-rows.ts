/** Verifies the rows of one row group, with all its columns in memory. */
import { isUtf8 } from "node:buffer";
import {
  type Column,
  type ColumnBatch,
  columnOf,
  columnType,
  type ColumnType,
  type DictColumn,
  type Int32Column,
  type Int64Column,
  isValid,
  parseRestValue,
  valueBytes,
  valueText,
} from "#pkg/columns/columns.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";
import { parseAttributesJson } from "#pkg/otlp/otlp.ts";
import { type Findings } from "./findings.ts";
import type { RowGroupIndex } from "#pkg/block/index/index-section.ts";
import { plainTree, type TreeFacts, type TreeSpan } from "./verify-tree.ts";

/** Columns that every row group has, without nulls. */
const requiredColumns: readonly string[] = [
  "trace_id",
  "span_id",
  "start_unix_nano",
  "duration_nano",
  "nested_left",
  "nested_right",
  "nested_parent",
  "child_count",
  "trace_start_unix_nano",
  "trace_duration_nano",
];

/** Columns whose lists have the same length in each row. */
const parallelLists: readonly (readonly string[])[] = [
  ["span_rest_key", "span_rest_value"],
  ["resource_rest_key", "resource_rest_value"],
  ["scope_rest_key", "scope_rest_value"],
  ["event_time", "event_name", "event_attributes", "event_dropped_attributes_count"],
  [
    "link_trace_id",
    "link_span_id",
    "link_trace_state",
    "link_attributes",
    "link_dropped_attributes_count",
    "link_flags",
  ],
];

/** Parsers of text columns that have a syntax. */
const textForms: Readonly<Record<string, (text: string) => unknown>> = {
  span_rest_value: parseRestValue,
  resource_rest_value: parseRestValue,
  scope_rest_value: parseRestValue,
  event_attributes: parseAttributesJson,
  link_attributes: parseAttributesJson,
  resource_entity_refs: (text) => JSON.parse(text) as unknown,
};

/**
 * Checks the rows of a row group for consistency and against its times in the index. Returns the
 * trace ids in order, 16 bytes each. `isFit` is false if a column is missing or has a wrong type;
 * the rows were then not checked.
 */
export function checkRows(
  batch: ColumnBatch,
  index: RowGroupIndex,
  place: string,
  findings: Findings,
): { traceIds: Uint8Array; isFit: boolean } {
  let isFit = true;
  for (const name of batch.names) {
    const wrong = wrongType(name, batch.column(name)!);
    if (wrong === undefined) continue;
    findings.add("schema", `${place}, column ${name}`, wrong);
    isFit = false;
  }
  for (const name of requiredColumns) {
    const column = batch.column(name);
    if (column !== undefined && nullCount(column) === 0) continue;
    const what = column === undefined ? "the column is missing" : "the column has nulls";
    findings.add("schema", `${place}, column ${name}`, what);
    isFit = false;
  }
  if (!isFit) return { traceIds: new Uint8Array(0), isFit };
  for (const name of batch.names) checkTexts(name, batch.column(name)!, place, findings);
  for (const names of parallelLists) checkParallel(batch, names, place, findings);
  checkTimes(batch, index, place, findings);
  return { traceIds: checkTraces(batch, index, place, findings), isFit };
}

function wrongType(name: string, column: Column): string | undefined {
  const expected = columnType(name);
  if (expected === undefined) return "no version of Spoor writes a column of this name";
  const found = typeOf(column);
  return found === expected ? undefined : `it is ${found}, expected ${expected}`;
}

function typeOf(column: Column): ColumnType {
  if (column.kind === "dict") return column.type;
  if (column.kind === "list") return `list<${typeOf(column.child)}>` as ColumnType;
  return column.kind;
}

function nullCount(column: Column): number {
  let count = 0;
  if (column.kind === "dict") {
    for (const code of column.codes) if (code < 0) count++;
  } else if (column.kind !== "list" && column.valid !== undefined) {
    for (let row = 0; row < column.values.length; row++) if (!isValid(column.valid, row)) count++;
  }
  return count;
}

/** Checks UTF-8 and the syntax of text columns. Checks each distinct value once. */
function checkTexts(name: string, column: Column, place: string, findings: Findings): void {
  const dict = column.kind === "list" ? column.child : column;
  if (dict.kind !== "dict") return;
  const at = `${place}, column ${name}`;
  if (column.kind === "list" && nullCount(dict) > 0) {
    findings.add("schema", at, "an item of a list is null");
  }
  if (dict.type !== "string") return;
  const parse = textForms[name];
  for (let code = 0; code < dict.dictionary.length; code++) {
    if (!isUtf8(valueBytes(dict.dictionary, code))) {
      findings.add("utf8", at, `value ${code} of its dictionary is not UTF-8`);
      continue;
    }
    try {
      parse?.(valueText(dict.dictionary, code));
    } catch (error) {
      findings.add("value", at, toSpoorError(error).message);
    }
  }
}

function checkParallel(
  batch: ColumnBatch,
  names: readonly string[],
  place: string,
  findings: Findings,
): void {
  const first = columnOf(batch, names[0], "list");
  for (const name of names.slice(1)) {
    const at = `${place}, column ${name}`;
    const other = columnOf(batch, name, "list");
    if (first === undefined || other === undefined) {
      if (first !== other) findings.add("schema", at, `it or ${names[0]} is missing`);
      continue;
    }
    const row = first.offsets.findIndex((offset, i) => offset !== other.offsets[i]);
    if (row < 0 || row > batch.rows) continue;
    const message = `its list in row ${Math.max(0, row - 1)} is not as long as in ${names[0]}`;
    findings.add("value", at, message);
  }
}

function checkTimes(
  batch: ColumnBatch,
  index: RowGroupIndex,
  place: string,
  findings: Findings,
): void {
  const start = columnOf(batch, "start_unix_nano", "int64")!.values;
  const duration = columnOf(batch, "duration_nano", "int64")!.values;
  let [min, max, maxEnd] = [start[0], start[0], start[0]];
  for (let row = 0; row < batch.rows; row++) {
    if (start[row] < min) min = start[row];
    if (start[row] > max) max = start[row];
    const end = duration[row] > 0n ? start[row] + duration[row] : start[row];
    if (end > maxEnd) maxEnd = end;
  }
  const compare = (what: string, found: string, expected: bigint): void => {
    if (found === String(expected)) return;
    findings.add("times", place, `the index says ${what} ${found}, the rows have ${expected}`);
  };
  compare("earliest start", index.minStartNano, min);
  compare("latest start", index.maxStartNano, max);
  compare("latest end", index.maxEndNano, maxEnd);
}

/** Checks the order of spans and traces, and the tree columns. Returns the trace ids. */
function checkTraces(
  batch: ColumnBatch,
  index: RowGroupIndex,
  place: string,
  findings: Findings,
): Uint8Array {
  const { codes, dictionary } = columnOf(batch, "trace_id", "dict")!;
  const start = columnOf(batch, "start_unix_nano", "int64")!.values;
  const ids: Uint8Array[] = [];
  const seen = new Set<string>();
  const tree = new TreeCheck(batch, place, findings);
  let lastStart = start[0];
  let latestTrace = start[0];
  let from = 0;
  for (let row = 1; row <= batch.rows; row++) {
    if (row < batch.rows && codes[row] === codes[from]) {
      if (start[row] >= start[row - 1]) continue;
      findings.add("order", place, `span in row ${row} starts before the span in the row above`);
      continue;
    }
    const id = valueBytes(dictionary, codes[from]);
    const hex = Buffer.from(id).toString("hex");
    if (id.length !== 16) findings.add("value", place, `trace id ${hex} is not 16 bytes long`);
    else ids.push(id);
    if (seen.has(hex)) findings.add("order", place, `spans of trace ${hex} are not contiguous`);
    seen.add(hex);
    if (start[from] < lastStart) {
      findings.add("order", place, `trace ${hex} starts before the trace above it`);
    }
    lastStart = start[from];
    if (lastStart > latestTrace) latestTrace = lastStart;
    tree.check(from, row);
    from = row;
  }
  if (seen.size !== index.traces) {
    const message = `the index says ${index.traces} traces, the rows have ${seen.size}`;
    findings.add("directory", place, message);
  }
  const known = index.maxTraceStartNano;
  if (known !== undefined && known !== String(latestTrace)) {
    const message = `the index says latest trace start ${known}, the rows have ${latestTrace}`;
    findings.add("times", place, message);
  }
  return Buffer.concat(ids);
}

/** Compares tree columns with `plainTree`, trace by trace. */
class TreeCheck {
  readonly #batch: ColumnBatch;
  readonly #place: string;
  readonly #findings: Findings;
  readonly #texts = new Map<string, (string | undefined)[]>();

  constructor(batch: ColumnBatch, place: string, findings: Findings) {
    this.#batch = batch;
    this.#place = place;
    this.#findings = findings;
  }

  check(from: number, to: number): void {
    const spans: TreeSpan[] = [];
    for (let row = from; row < to; row++) spans.push(this.#span(row));
    plainTree(spans).forEach((facts, i) => this.#compare(from + i, facts));
  }

  #span(row: number): TreeSpan {
    return {
      id: this.#long("span_id", row),
      parentId: this.#optionalLong("parent_span_id", row),
      startNano: this.#long("start_unix_nano", row),
      durationNano: this.#long("duration_nano", row),
      name: this.#text("name", row),
      service: this.#text("resource.service.name", row),
    };
  }

  #compare(row: number, facts: TreeFacts): void {
    const compare = (column: string, found: unknown, expected: unknown): void => {
      if (found === expected) return;
      const message = `row ${row} has ${String(found)}, expected ${String(expected)}`;
      this.#findings.add("tree", `${this.#place}, column ${column}`, message);
    };
    compare("nested_left", this.#int("nested_left", row), facts.nestedLeft);
    compare("nested_right", this.#int("nested_right", row), facts.nestedRight);
    compare("nested_parent", this.#int("nested_parent", row), facts.nestedParent);
    compare("child_count", this.#int("child_count", row), facts.childCount);
    compare("root_name", this.#text("root_name", row), facts.rootName);
    compare("root_service", this.#text("root_service", row), facts.rootService);
    const start = "trace_start_unix_nano";
    compare(start, this.#long(start, row), facts.traceStartNano);
    const duration = "trace_duration_nano";
    compare(duration, this.#long(duration, row), facts.traceDurationNano);
  }

  #int(name: string, row: number): number {
    return (this.#batch.column(name) as Int32Column).values[row];
  }

  #long(name: string, row: number): bigint {
    return (this.#batch.column(name) as Int64Column).values[row];
  }

  #optionalLong(name: string, row: number): bigint | undefined {
    const column = columnOf(this.#batch, name, "int64");
    return column !== undefined && isValid(column.valid, row) ? column.values[row] : undefined;
  }

  /** Returns the text of a row; decodes each dictionary entry once. */
  #text(name: string, row: number): string | null {
    const column = this.#batch.column(name) as DictColumn | undefined;
    const code = column?.codes[row] ?? -1;
    if (column === undefined || code < 0) return null;
    let texts = this.#texts.get(name);
    if (texts === undefined) this.#texts.set(name, (texts = []));
    return (texts[code] ??= valueText(column.dictionary, code));
  }
}
