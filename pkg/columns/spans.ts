/**
 * Converts rows of a ColumnBatch to complete OTLP spans: the inverse of decoding and cutting. It
 * serves answers with few rows; a search never builds these objects.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  type AnyValue,
  type EntityRef,
  type KeyValue,
  parseAttributesJson,
  type ResourceSpans,
  type ScopeSpans,
  type Span,
  type SpanEvent,
  type SpanLink,
  type TraceData,
} from "#pkg/otlp/otlp.ts";
import {
  type Column,
  type ColumnBatch,
  columnOf,
  isValid,
  type ListColumn,
  valueBytes,
  valueText,
} from "./column-batch.ts";
import { parseRestValue } from "./rest-value.ts";
import { enumValue, kindWords, parseAttributeColumn, statusWords } from "./schema.ts";

/** Returns the spans at `rows`, in that order, grouped by resource and scope. */
export function readSpans(batch: ColumnBatch, rows: ArrayLike<number>): TraceData {
  const reader = new SpanReader(batch);
  const out: TraceData = { resourceSpans: [] };
  const resources = new Map<string, ResourceSpans>();
  const scopes = new Map<string, ScopeSpans>();
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i];
    const resourceKey = reader.identity(row, "resource");
    let resourceSpans = resources.get(resourceKey);
    if (resourceSpans === undefined) {
      resourceSpans = reader.resource(row);
      resources.set(resourceKey, resourceSpans);
      out.resourceSpans.push(resourceSpans);
    }
    const scopeKey = `${resourceKey}\n${reader.identity(row, "scope")}`;
    let scopeSpans = scopes.get(scopeKey);
    if (scopeSpans === undefined) {
      scopeSpans = reader.scope(row);
      scopes.set(scopeKey, scopeSpans);
      resourceSpans.scopeSpans.push(scopeSpans);
    }
    scopeSpans.spans.push(reader.span(row));
  }
  return out;
}

/** Returns a text per row. Texts are equal only if the spans are equal in every field. */
export function spanKeys(batch: ColumnBatch): string[] {
  const columns = batch.names.map((name) => batch.column(name)!);
  const keys: string[] = [];
  for (let row = 0; row < batch.rows; row++) {
    keys.push(columns.map((column) => cellKey(column, row)).join(";"));
  }
  return keys;
}

interface NamedColumn {
  key: string;
  column: Column;
}

class SpanReader {
  readonly #batch: ColumnBatch;
  readonly #attributes: Record<"resource" | "span", NamedColumn[]> = { resource: [], span: [] };
  /** All columns that make up a resource's or a scope's identity. */
  readonly #identity: Record<"resource" | "scope", Column[]> = { resource: [], scope: [] };

  constructor(batch: ColumnBatch) {
    this.#batch = batch;
    for (const name of batch.names) {
      const column = batch.column(name)!;
      const attribute = parseAttributeColumn(name);
      if (attribute !== undefined) {
        this.#attributes[attribute.scope].push({ key: attribute.key, column });
      }
      if (attribute?.scope === "resource" || name.startsWith("resource_")) {
        this.#identity.resource.push(column);
      } else if (name.startsWith("scope_")) this.#identity.scope.push(column);
    }
  }

  /** Returns a text that is equal for two rows only if their resources (or scopes) are equal. */
  identity(row: number, what: "resource" | "scope"): string {
    return this.#identity[what].map((column) => cellKey(column, row)).join(";");
  }

  resource(row: number): ResourceSpans {
    const entityRefs = this.#text("resource_entity_refs", row);
    return {
      resource: {
        attributes: this.#attributeList("resource", row),
        droppedAttributesCount: this.#count("resource_dropped_attributes_count", row),
        entityRefs: entityRefs === "" ? [] : (JSON.parse(entityRefs) as EntityRef[]),
      },
      scopeSpans: [],
      schemaUrl: this.#text("resource_schema_url", row),
    };
  }

  scope(row: number): ScopeSpans {
    return {
      scope: {
        name: this.#text("scope_name", row),
        version: this.#text("scope_version", row),
        attributes: this.#restAttributes("scope", row),
        droppedAttributesCount: this.#count("scope_dropped_attributes_count", row),
      },
      spans: [],
      schemaUrl: this.#text("scope_schema_url", row),
    };
  }

  span(row: number): Span {
    const start = this.#int("start_unix_nano", row);
    return {
      traceId: this.#traceId(row),
      spanId: idBytes(this.#int("span_id", row)),
      traceState: this.#text("trace_state", row),
      parentSpanId: this.#parent(row),
      name: this.#text("name", row),
      kind: enumValue(kindWords, this.#text("kind", row) || "unspecified"),
      startTimeUnixNano: BigInt.asUintN(64, start),
      endTimeUnixNano: BigInt.asUintN(64, start + this.#int("duration_nano", row)),
      attributes: this.#attributeList("span", row),
      droppedAttributesCount: this.#count("dropped_attributes_count", row),
      events: this.#events(row),
      droppedEventsCount: this.#count("dropped_events_count", row),
      links: this.#links(row),
      droppedLinksCount: this.#count("dropped_links_count", row),
      status: {
        message: this.#text("status_message", row),
        code: enumValue(statusWords, this.#text("status", row) || "unset"),
      },
      flags: this.#count("flags", row),
    };
  }

  #traceId(row: number): Uint8Array {
    const column = columnOf(this.#batch, "trace_id", "dict");
    if (column === undefined) throw new SpoorError("Corrupt", "column trace_id is missing");
    return Uint8Array.from(valueBytes(column.dictionary, column.codes[row]));
  }

  #parent(row: number): Uint8Array {
    const column = columnOf(this.#batch, "parent_span_id", "int64");
    if (column === undefined || !isValid(column.valid, row)) return new Uint8Array(0);
    return idBytes(column.values[row]);
  }

  #text(name: string, row: number): string {
    const column = columnOf(this.#batch, name, "dict");
    const code = column?.codes[row] ?? -1;
    return code < 0 ? "" : valueText(column!.dictionary, code);
  }

  #int(name: string, row: number): bigint {
    const column = columnOf(this.#batch, name, "int64");
    if (column === undefined) throw new SpoorError("Corrupt", `column ${name} is missing`);
    return column.values[row];
  }

  #count(name: string, row: number): number {
    return (columnOf(this.#batch, name, "int32")?.values[row] ?? 0) >>> 0;
  }

  #attributeList(scope: "resource" | "span", row: number): KeyValue[] {
    const out: KeyValue[] = [];
    for (const { key, column } of this.#attributes[scope]) {
      const value = scalarValue(column, row);
      if (value !== undefined) out.push({ key, value });
    }
    return out.concat(this.#restAttributes(scope, row));
  }

  #restAttributes(scope: "resource" | "span" | "scope", row: number): KeyValue[] {
    const keys = this.#texts(`${scope}_rest_key`, row);
    const values = this.#texts(`${scope}_rest_value`, row);
    return keys.map((key, i) => ({ key, value: parseRestValue(values[i]) }));
  }

  #events(row: number): SpanEvent[] {
    const times = this.#ints("event_time", row);
    const names = this.#texts("event_name", row);
    const attributes = this.#texts("event_attributes", row);
    const dropped = this.#counts("event_dropped_attributes_count", row);
    return times.map((time, i) => ({
      timeUnixNano: BigInt.asUintN(64, time),
      name: names[i],
      attributes: parseAttributesJson(attributes[i]),
      droppedAttributesCount: dropped[i],
    }));
  }

  #links(row: number): SpanLink[] {
    const traceIds = this.#binaries("link_trace_id", row);
    const spanIds = this.#binaries("link_span_id", row);
    const traceStates = this.#texts("link_trace_state", row);
    const attributes = this.#texts("link_attributes", row);
    const dropped = this.#counts("link_dropped_attributes_count", row);
    const flags = this.#counts("link_flags", row);
    return traceIds.map((traceId, i) => ({
      traceId,
      spanId: spanIds[i],
      traceState: traceStates[i],
      attributes: parseAttributesJson(attributes[i]),
      droppedAttributesCount: dropped[i],
      flags: flags[i],
    }));
  }

  #binaries(name: string, row: number): Uint8Array[] {
    return this.#items(name, row, (child, i) => {
      const dict = asKind(child, "dict", name);
      return Uint8Array.from(valueBytes(dict.dictionary, dict.codes[i]));
    });
  }

  #texts(name: string, row: number): string[] {
    return this.#items(name, row, (child, i) => {
      const dict = asKind(child, "dict", name);
      return valueText(dict.dictionary, dict.codes[i]);
    });
  }

  #ints(name: string, row: number): bigint[] {
    return this.#items(name, row, (child, i) => asKind(child, "int64", name).values[i]);
  }

  #counts(name: string, row: number): number[] {
    return this.#items(name, row, (child, i) => asKind(child, "int32", name).values[i] >>> 0);
  }

  #items<T>(name: string, row: number, read: (child: ListColumn["child"], i: number) => T): T[] {
    const list = columnOf(this.#batch, name, "list");
    const out: T[] = [];
    if (list === undefined) return out;
    for (let i = list.offsets[row]; i < list.offsets[row + 1]; i++) out.push(read(list.child, i));
    return out;
  }
}

function asKind<K extends Column["kind"]>(
  column: Column,
  kind: K,
  name: string,
): Extract<Column, { kind: K }> {
  if (column.kind !== kind) {
    throw new SpoorError("Corrupt", `items of column ${name} are ${column.kind}, expected ${kind}`);
  }
  return column as Extract<Column, { kind: K }>;
}

/** Returns the value of a scalar attribute column at `row`; undefined for null. */
export function scalarValue(column: Column, row: number): AnyValue | undefined {
  switch (column.kind) {
    case "dict": {
      const code = column.codes[row];
      return code < 0 ? undefined : { kind: "string", value: valueText(column.dictionary, code) };
    }
    case "int64":
      if (!isValid(column.valid, row)) return undefined;
      return { kind: "int", value: column.values[row] };
    case "double":
      if (!isValid(column.valid, row)) return undefined;
      return { kind: "double", value: column.values[row] };
    case "bool":
      if (!isValid(column.valid, row)) return undefined;
      return { kind: "bool", value: column.values[row] !== 0 };
    default:
      throw new SpoorError("Corrupt", `an attribute column cannot be of kind ${column.kind}`);
  }
}

/** Returns a cell as text, which is equal only for equal cells of one column. */
function cellKey(column: Column, row: number): string {
  switch (column.kind) {
    case "dict":
      return String(column.codes[row]);
    case "list": {
      const items: string[] = [];
      for (let i = column.offsets[row]; i < column.offsets[row + 1]; i++) {
        items.push(cellKey(column.child, i));
      }
      return items.join(",");
    }
    default:
      if (!isValid(column.valid, row)) return "-";
      return Object.is(column.values[row], -0) ? "-0" : String(column.values[row]);
  }
}

/** Returns the 8 bytes of an id that is stored as a big-endian int64. */
export function idBytes(id: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, id);
  return bytes;
}
