/**
 * Names and types of the columns of a span, in the order in which a block holds them. Attribute
 * columns are named `resource.<key>` and `span.<key>` for strings and get a suffix for other types:
 * `:int`, `:double`, `:bool`. One key with two types is two columns, so types never conflict.
 */

export type ColumnType =
  | "string"
  | "binary"
  | "int64"
  | "int32"
  | "double"
  | "bool"
  | "list<string>"
  | "list<binary>"
  | "list<int64>"
  | "list<int32>";

/** All columns except those of attributes. */
export const fixedColumns: Readonly<Record<string, ColumnType>> = {
  trace_id: "binary",
  span_id: "int64",
  parent_span_id: "int64",
  start_unix_nano: "int64",
  duration_nano: "int64",
  name: "string",
  kind: "string",
  status: "string",
  status_message: "string",
  trace_state: "string",
  flags: "int32",
  dropped_attributes_count: "int32",
  dropped_events_count: "int32",
  dropped_links_count: "int32",
  scope_name: "string",
  scope_version: "string",
  scope_schema_url: "string",
  scope_dropped_attributes_count: "int32",
  resource_schema_url: "string",
  resource_dropped_attributes_count: "int32",
  resource_entity_refs: "string",
  nested_left: "int32",
  nested_right: "int32",
  nested_parent: "int32",
  child_count: "int32",
  root_service: "string",
  root_name: "string",
  trace_start_unix_nano: "int64",
  trace_duration_nano: "int64",
  span_rest_key: "list<string>",
  span_rest_value: "list<string>",
  resource_rest_key: "list<string>",
  resource_rest_value: "list<string>",
  scope_rest_key: "list<string>",
  scope_rest_value: "list<string>",
  event_time: "list<int64>",
  event_name: "list<string>",
  event_attributes: "list<string>",
  event_dropped_attributes_count: "list<int32>",
  link_trace_id: "list<binary>",
  link_span_id: "list<binary>",
  link_trace_state: "list<string>",
  link_attributes: "list<string>",
  link_dropped_attributes_count: "list<int32>",
  link_flags: "list<int32>",
};

/** Columns that the block writer computes from all spans of a trace in the block. */
export const traceColumnNames: readonly string[] = [
  "nested_left",
  "nested_right",
  "nested_parent",
  "child_count",
  "root_service",
  "root_name",
  "trace_start_unix_nano",
  "trace_duration_nano",
];

export type AttributeScope = "resource" | "span";
export type ScalarType = "string" | "int64" | "double" | "bool";

const suffixes: Record<ScalarType, string> = {
  string: "",
  int64: ":int",
  double: ":double",
  bool: ":bool",
};

/** Keys that may have columns; attributes with other keys are in the rest lists. */
export const columnKeyPattern: RegExp = /^[A-Za-z0-9_./-]{1,128}$/;

/**
 * Returns the prefix of rest columns and tag index keys for a scope of the language. It is `scope`
 * for the instrumentation scope, as in OTLP.
 */
export function columnPrefix(scope: string): string {
  return scope === "instrumentation" ? "scope" : scope;
}

/** Returns the name of an attribute's column, e.g. `span.http.status_code:int`. */
export function attributeColumnName(scope: AttributeScope, key: string, type: ScalarType): string {
  return `${scope}.${key}${suffixes[type]}`;
}

export interface AttributeColumn {
  scope: AttributeScope;
  key: string;
  type: ScalarType;
}

/** Parses the name of an attribute's column; returns undefined for a fixed column. */
export function parseAttributeColumn(name: string): AttributeColumn | undefined {
  const match = /^(resource|span)\.([A-Za-z0-9_./-]{1,128})(:int|:double|:bool)?$/.exec(name);
  if (match === null) return undefined;
  const type = (Object.keys(suffixes) as ScalarType[]).find(
    (candidate) => suffixes[candidate] === (match[3] ?? ""),
  )!;
  return { scope: match[1] as AttributeScope, key: match[2], type };
}

/** Returns the type of a column; undefined for a name that no version of Spoor writes. */
export function columnType(name: string): ColumnType | undefined {
  return Object.hasOwn(fixedColumns, name) ? fixedColumns[name] : parseAttributeColumn(name)?.type;
}

/** OTLP span kinds by number, as the words stored in the column `kind`. */
export const kindWords: readonly string[] = [
  "unspecified",
  "internal",
  "server",
  "client",
  "producer",
  "consumer",
];

/** OTLP status codes by number, as the words stored in the column `status`. */
export const statusWords: readonly string[] = ["unset", "ok", "error"];

/** Returns the word of an enum value; a value without a word is stored as its decimal number. */
export function enumWord(words: readonly string[], value: number): string {
  return words[value] ?? String(value);
}

/** Returns the enum value of a word of `enumWord`. */
export function enumValue(words: readonly string[], word: string): number {
  const value = words.indexOf(word);
  return value >= 0 ? value : Number(word) | 0;
}
