/**
 * Resolves an attribute or intrinsic of a query to layers of values in a batch. The first layer
 * with a value in a row counts. Only the columns that `referenceColumns` lists are read.
 */
import type { Arena } from "#pkg/bytes/bytes.ts";
import {
  attributeColumnName,
  type Column,
  type ColumnBatch,
  columnKeyPattern,
  columnOf,
  columnPrefix,
  type DictColumn,
  type ListColumn,
  parseRestValue,
  type ScalarType,
  valueText,
} from "#pkg/columns/columns.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { parseAttributesJson } from "#pkg/otlp/otlp.ts";
import type { AttributeScope, IntrinsicName, Reference } from "#pkg/traceql/traceql.ts";
import {
  BoolValues,
  CodedValues,
  DurationValues,
  DictValues,
  DoubleValues,
  hexOf,
  IdValues,
  IntValues,
  type RowValues,
} from "./row-values.ts";
import { ItemValues } from "./item-values.ts";
import { type IntrinsicKind, intrinsicSources, isOfWholeTrace } from "./intrinsics.ts";
import { SmallIntValues } from "./small-int-values.ts";
import { traceColumnInputs } from "#pkg/engine/trace/trace-columns.ts";
import { type Value, valueOf, valueOfKey } from "./values.ts";

/** The lists of a span whose items have values of their own. */
export type Axis = "event" | "link";

export type Layer = { axis: undefined; values: RowValues } | { axis: Axis; values: ItemValues };

export type OneScope = Exclude<AttributeScope, "any">;

/** The order in which `.x` is looked up. */
const anyScopes: readonly OneScope[] = ["span", "resource", "event", "link", "instrumentation"];
const columnTypes: readonly ScalarType[] = ["string", "int64", "double", "bool"];
const listColumns = { event: "event_attributes", link: "link_attributes" } as const;

export function scopesOf(scope: AttributeScope): readonly OneScope[] {
  return scope === "any" ? anyScopes : [scope];
}

/**
 * Returns where a row group has the values of a key: nowhere, only in columns, or also in lists.
 */
export type LocateKey = (scope: OneScope, key: string) => "nowhere" | "columns" | "anywhere";

const anywhere: LocateKey = () => "anywhere";

/** Returns the names of the columns that may hold values of the reference. */
export function referenceColumns(
  reference: Reference,
  locate: LocateKey = anywhere,
): readonly string[] {
  if (reference.kind === "intrinsic") {
    if (isOfWholeTrace(reference.name)) return traceColumnInputs(reference.name);
    const { column, besides } = intrinsicSources[reference.name];
    return [column, ...besides];
  }
  return scopesOf(reference.scope).flatMap((scope) => {
    const place = locate(scope, reference.name);
    if (place === "nowhere") return [];
    if (scope === "event" || scope === "link") return listColumns[scope];
    const columns = typedColumns(scope, reference.name);
    if (place === "columns") return columns;
    const prefix = columnPrefix(scope);
    return [...columns, `${prefix}_rest_key`, `${prefix}_rest_value`];
  });
}

/** Returns the columns of an attribute, one per type; none if the key cannot have columns. */
export function typedColumns(scope: OneScope, key: string): string[] {
  if ((scope !== "span" && scope !== "resource") || !columnKeyPattern.test(key)) return [];
  return columnTypes.map((type) => attributeColumnName(scope, key, type));
}

const idKinds: ReadonlySet<IntrinsicKind> = new Set<IntrinsicKind>([
  "span_id",
  "trace_id",
  "link_trace_id",
  "link_span_id",
]);

/** Returns whether values are compared as ids, not as texts. */
export function isId(reference: Reference): boolean {
  return reference.kind === "intrinsic" && idKinds.has(intrinsicSources[reference.name].kind);
}

/**
 * Returns the layers of a reference; the first layer with a value in a row counts. Layers are valid
 * until the arena's next `reset`. Values of whole traces need a batch of `withTraceColumns`.
 */
export function openReference(batch: ColumnBatch, reference: Reference, arena: Arena): Layer[] {
  if (reference.kind === "intrinsic") return [openIntrinsic(batch, reference.name)];
  const { name } = reference;
  return scopesOf(reference.scope).flatMap((scope) => openScope(batch, scope, name, arena));
}

function openScope(batch: ColumnBatch, scope: OneScope, key: string, arena: Arena): Layer[] {
  if (scope === "event" || scope === "link") return [openList(batch, scope, key)];
  const columns = typedColumns(scope, key).flatMap((name) => batch.column(name) ?? []);
  const prefix = columnPrefix(scope);
  const rest = openRest(batch, { prefix, key }, arena);
  const values = columns.map((column) => columnValues(column));
  return [...(rest === undefined ? [] : [rest]), ...values].map((one) => ({
    axis: undefined,
    values: one,
  }));
}

function openList(batch: ColumnBatch, axis: Axis, key: string): Layer {
  const column = columnOf(batch, listColumns[axis], "list");
  if (column === undefined) return { axis, values: new ItemValues(undefined, nothing) };
  const { codes, dictionary } = dictOf(column);
  const make = (code: number): Value | undefined =>
    valueOfKey(parseAttributesJson(valueText(dictionary, code)), key);
  return { axis, values: new ItemValues({ offsets: column.offsets, codes }, make) };
}

function nothing(): undefined {
  return undefined;
}

function dictOf({ child }: ListColumn): DictColumn {
  if (child.kind === "dict") return child;
  throw new SpoorError("Corrupt", `a list of texts has items of kind ${child.kind}`);
}

function columnValues(column: Column): RowValues {
  switch (column.kind) {
    case "dict":
      return new DictValues(column, textValue);
    case "int64":
      return new IntValues(column);
    case "double":
      return new DoubleValues(column);
    case "bool":
      return new BoolValues(column);
    default:
      throw new SpoorError("Corrupt", `an attribute has a column of kind ${column.kind}`);
  }
}

function textValue(value: string): Value {
  return { type: "string", value };
}

/**
 * Opens the values of a key in rest lists. If a row has the key more than once, the list holds all
 * its values in order, and the last one counts. (In blocks of older versions the first value may be
 * in a column.)
 */
function openRest(
  batch: ColumnBatch,
  { prefix, key }: { prefix: string; key: string },
  arena: Arena,
): RowValues | undefined {
  const keys = columnOf(batch, `${prefix}_rest_key`, "list");
  const values = columnOf(batch, `${prefix}_rest_value`, "list");
  if (keys === undefined || values === undefined) return undefined;
  const { codes: keyCodes, dictionary: keyTexts } = dictOf(keys);
  const { codes: valueCodes, dictionary } = dictOf(values);
  const wanted = codesOfText(keyTexts, key);
  if (wanted === undefined) return undefined;
  const codes = arena.int32(batch.rows).fill(-1);
  for (let row = 0; row < batch.rows; row++) {
    for (let i = keys.offsets[row]; i < keys.offsets[row + 1]; i++) {
      if (wanted[keyCodes[i]] === 1) codes[row] = valueCodes[i];
    }
  }
  return new CodedValues(codes, (code) => valueOf(parseRestValue(valueText(dictionary, code))));
}

/** Marks with 1 each entry with this text; returns undefined if there is none. */
function codesOfText(dictionary: DictColumn["dictionary"], text: string): Uint8Array | undefined {
  const wanted = new Uint8Array(dictionary.length);
  let isAny = false;
  for (let code = 0; code < dictionary.length; code++) {
    if (valueText(dictionary, code) !== text) continue;
    wanted[code] = 1;
    isAny = true;
  }
  return isAny ? wanted : undefined;
}

function openIntrinsic(batch: ColumnBatch, name: IntrinsicName): Layer {
  const { kind, column } = intrinsicSources[name];
  switch (kind) {
    case "tree":
      return ofSpan(traceValues(batch, name));
    case "duration":
      return ofSpan(durationsOf(batch));
    case "text":
      return ofSpan(new DictValues(columnOf(batch, column, "dict"), textValue, textValue("")));
    case "status":
      return ofSpan(wordValues(batch, "status", "unset"));
    case "kind":
      return ofSpan(wordValues(batch, "kind", "unspecified"));
    case "span_id":
      return ofSpan(new IdValues(columnOf(batch, column, "int64")));
    case "trace_id":
      return ofSpan(traceIds(batch));
    case "event_text":
      return { axis: "event", values: textItems(batch, column, valueText) };
    case "event_time":
      return { axis: "event", values: timesSinceStart(batch) };
    default:
      return { axis: "link", values: textItems(batch, column, hexOf) };
  }
}

function ofSpan(values: RowValues): Layer {
  return { axis: undefined, values };
}

/** Opens values from `withTraceColumns`. A trace without a root span has "" as its root's name. */
function traceValues(batch: ColumnBatch, name: IntrinsicName): RowValues {
  const column = batch.column(intrinsicSources[name].column);
  switch (column?.kind) {
    case "dict":
      return new DictValues(column, textValue, textValue(""));
    case "int64":
      return new IntValues(column, "duration");
    case "int32":
      return new SmallIntValues(column.values);
    default:
      throw new SpoorError("Internal", `the batch has no values of ${name}`);
  }
}

function traceIds(batch: ColumnBatch): RowValues {
  const column = columnOf(batch, "trace_id", "dict");
  const codes = column?.codes ?? new Int32Array(batch.rows).fill(-1);
  return new CodedValues(codes, (code) => textValue(hexOf(column!.dictionary, code)));
}

/** Opens statuses or kinds. A number without a word keeps its text, which equals no word. */
function wordValues(batch: ColumnBatch, type: "status" | "kind", absent: string): DictValues {
  const make = (value: string): Value => ({ type, value }) as Value;
  return new DictValues(columnOf(batch, type, "dict"), make, make(absent));
}

/** Opens durations. A span that ends before it starts has duration 0. */
function durationsOf(batch: ColumnBatch): RowValues {
  const column = columnOf(batch, "duration_nano", "int64");
  if (column !== undefined) return new DurationValues(column);
  return new IntValues({ values: new BigInt64Array(batch.rows), valid: undefined }, "duration");
}

function textItems(
  batch: ColumnBatch,
  name: string,
  textOf: (dictionary: DictColumn["dictionary"], code: number) => string,
): ItemValues {
  const column = columnOf(batch, name, "list");
  if (column === undefined) return new ItemValues(undefined, nothing);
  const { codes, dictionary } = dictOf(column);
  return new ItemValues({ offsets: column.offsets, codes }, (code) =>
    textValue(textOf(dictionary, code)),
  );
}

function timesSinceStart(batch: ColumnBatch): ItemValues {
  const column = columnOf(batch, "event_time", "list");
  const starts = columnOf(batch, "start_unix_nano", "int64");
  if (column?.child.kind !== "int64" || starts === undefined) {
    return new ItemValues(undefined, nothing);
  }
  const { offsets, child } = column;
  const times = child.values;
  const since = new BigInt64Array(times.length);
  for (let row = 0; row < batch.rows; row++) {
    for (let i = offsets[row]; i < offsets[row + 1]; i++) since[i] = times[i] - starts.values[row];
  }
  const codes = Int32Array.from(times, (_, i) => i);
  return new ItemValues({ offsets, codes }, (at) => ({ type: "duration", value: since[at] }));
}
