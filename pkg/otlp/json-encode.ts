/**
 * Formats objects as JSON text, in two dialects of the proto3 JSON mapping.
 *
 * | dialect | ids | enums | read by |
 * |---|---|---|---|
 * | otlp | hex | numbers | OTLP receivers (OTLP/JSON) |
 * | tempo | base64 | names | Grafana and other readers of Tempo's trace JSON |
 *
 * Both: lowerCamelCase, 64-bit integers as strings, non-finite doubles as strings, bytes as
 * base64. Default values are omitted except in AnyValue; `resource`, `scope` and `status` are
 * always present. The attribute functions are lossless (-0, int64, bytes, duplicates, order),
 * except for the payload of a NaN. Blocks store nested attributes with them; json-decode.ts parses
 * them.
 */
import {
  type AnyValue,
  type KeyValue,
  type Resource,
  type Scope,
  type Span,
  type SpanEvent,
  type SpanLink,
  spanKindNames,
  statusCodeNames,
  type TraceData,
} from "./trace-data.ts";

export interface TraceJsonOptions {
  dialect: "otlp" | "tempo";
  /** Name of the top-level list: Tempo's first trace API calls it `batches`. */
  key: "resourceSpans" | "batches";
}

/** A trace whose spans may be built while they are formatted. */
export interface SpansOnDemand {
  resourceSpans: Iterable<{
    resource: Resource;
    schemaUrl: string;
    scopeSpans: Iterable<{ scope: Scope; schemaUrl: string; spans: Iterable<Span> }>;
  }>;
}

/** Formats a trace as one JSON object. */
export function formatTraceJson(data: TraceData, options: TraceJsonOptions): string {
  return [...traceJsonTexts(data, options)].join("");
}

/** Formats a trace in pieces of at most one span. The caller concatenates them. */
export function* traceJsonTexts(
  data: SpansOnDemand,
  { dialect, key }: TraceJsonOptions,
): IterableIterator<string> {
  const format = new Formatter(dialect === "tempo");
  yield "{";
  yield* list(key, data.resourceSpans, function* ({ resource, scopeSpans, schemaUrl }) {
    yield `{"resource":${format.resource(resource)}`;
    const rest = list("scopeSpans", scopeSpans, function* (one) {
      yield `{"scope":${format.scope(one.scope)}`;
      const spans = list("spans", one.spans, function* (span) {
        yield format.span(span);
      });
      yield* after(spans);
      yield* after(textTexts("schemaUrl", one.schemaUrl));
      yield "}";
    });
    yield* after(rest);
    yield* after(textTexts("schemaUrl", schemaUrl));
    yield "}";
  });
  yield "}";
}

/** Yields a list as a field; yields nothing if the list is empty. */
function* list<T>(
  key: string,
  items: Iterable<T>,
  format: (item: T) => Iterable<string>,
): IterableIterator<string> {
  let isEmpty = true;
  for (const item of items) {
    yield isEmpty ? `"${key}":[` : ",";
    isEmpty = false;
    yield* format(item);
  }
  if (!isEmpty) yield "]";
}

function* textTexts(key: string, value: string): IterableIterator<string> {
  const text = textField(key, value);
  if (text !== "") yield text;
}

/** Yields a comma and the texts; yields nothing if there are none. */
function* after(texts: Iterable<string>): IterableIterator<string> {
  let isFirst = true;
  for (const text of texts) {
    if (isFirst) yield ",";
    isFirst = false;
    yield text;
  }
}

/** Formats a list of attributes as a JSON array of OTLP KeyValues. */
export function formatAttributesJson(attributes: KeyValue[]): string {
  return `[${attributes.map(formatKeyValue).join(",")}]`;
}

/** Formats one value as an OTLP AnyValue, e.g. `{"intValue":"5"}`; the empty value is `{}`. */
export function formatAnyValueJson(value: AnyValue): string {
  switch (value.kind) {
    case "string":
      return `{"stringValue":${JSON.stringify(value.value)}}`;
    case "bool":
      return `{"boolValue":${value.value}}`;
    case "int":
      return `{"intValue":"${value.value}"}`;
    case "double":
      return `{"doubleValue":${formatDouble(value.value)}}`;
    case "array":
      return `{"arrayValue":${valueList(value.values.map(formatAnyValueJson))}}`;
    case "kvlist":
      return `{"kvlistValue":${valueList(value.values.map(formatKeyValue))}}`;
    case "bytes":
      return `{"bytesValue":"${encodeBytes(value.value, "base64")}"}`;
    default:
      return "{}";
  }
}

/** The parts that differ by dialect. */
class Formatter {
  #isTempo: boolean;

  constructor(isTempo: boolean) {
    this.#isTempo = isTempo;
  }

  resource({ attributes, droppedAttributesCount, entityRefs }: Resource): string {
    const refs = entityRefs.map((ref) =>
      object([
        textField("schemaUrl", ref.schemaUrl),
        textField("type", ref.type),
        listField(
          "idKeys",
          ref.idKeys.map((key) => JSON.stringify(key)),
        ),
        listField(
          "descriptionKeys",
          ref.descriptionKeys.map((key) => JSON.stringify(key)),
        ),
      ]),
    );
    return object([
      attributesField(attributes),
      numberField("droppedAttributesCount", droppedAttributesCount),
      // Tempo's schema has no entity references, and its JSON readers refuse unknown keys.
      this.#isTempo ? "" : listField("entityRefs", refs),
    ]);
  }

  scope({ name, version, attributes, droppedAttributesCount }: Scope): string {
    return object([
      textField("name", name),
      textField("version", version),
      attributesField(attributes),
      numberField("droppedAttributesCount", droppedAttributesCount),
    ]);
  }

  span(span: Span): string {
    return object([
      this.#id("traceId", span.traceId),
      this.#id("spanId", span.spanId),
      textField("traceState", span.traceState),
      this.#id("parentSpanId", span.parentSpanId),
      numberField("flags", span.flags),
      textField("name", span.name),
      this.#enum("kind", span.kind, spanKindNames),
      nanosField("startTimeUnixNano", span.startTimeUnixNano),
      nanosField("endTimeUnixNano", span.endTimeUnixNano),
      attributesField(span.attributes),
      numberField("droppedAttributesCount", span.droppedAttributesCount),
      listField("events", span.events.map(formatEvent)),
      numberField("droppedEventsCount", span.droppedEventsCount),
      listField(
        "links",
        span.links.map((link) => this.#link(link)),
      ),
      numberField("droppedLinksCount", span.droppedLinksCount),
      `"status":${object([
        textField("message", span.status.message),
        this.#enum("code", span.status.code, statusCodeNames),
      ])}`,
    ]);
  }

  #link(link: SpanLink): string {
    return object([
      this.#id("traceId", link.traceId),
      this.#id("spanId", link.spanId),
      textField("traceState", link.traceState),
      attributesField(link.attributes),
      numberField("droppedAttributesCount", link.droppedAttributesCount),
      numberField("flags", link.flags),
    ]);
  }

  #id(key: string, id: Uint8Array): string {
    return id.length === 0 ? "" : `"${key}":"${encodeBytes(id, this.#isTempo ? "base64" : "hex")}"`;
  }

  #enum(key: string, value: number, names: readonly string[]): string {
    if (value === 0) return "";
    const name = this.#isTempo ? names[value] : undefined;
    return name === undefined ? `"${key}":${value}` : `"${key}":"${name}"`;
  }
}

function formatEvent(event: SpanEvent): string {
  return object([
    nanosField("timeUnixNano", event.timeUnixNano),
    textField("name", event.name),
    attributesField(event.attributes),
    numberField("droppedAttributesCount", event.droppedAttributesCount),
  ]);
}

function formatKeyValue({ key, value }: KeyValue): string {
  return `{"key":${JSON.stringify(key)},"value":${formatAnyValueJson(value)}}`;
}

/** Formats a double: -0 keeps its sign, non-finite numbers are strings. */
function formatDouble(value: number): string {
  if (!Number.isFinite(value)) return `"${value}"`;
  return Object.is(value, -0) ? "-0" : String(value);
}

function encodeBytes(bytes: Uint8Array, encoding: "hex" | "base64"): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString(encoding);
}

/** Joins the non-empty fields to an object. */
function object(fields: string[]): string {
  return `{${fields.filter((field) => field !== "").join(",")}}`;
}

function attributesField(attributes: KeyValue[]): string {
  return listField("attributes", attributes.map(formatKeyValue));
}

function valueList(items: string[]): string {
  return object([listField("values", items)]);
}

function listField(key: string, items: string[]): string {
  return items.length === 0 ? "" : `"${key}":[${items.join(",")}]`;
}

function textField(key: string, value: string): string {
  return value === "" ? "" : `"${key}":${JSON.stringify(value)}`;
}

function numberField(key: string, value: number): string {
  return value === 0 ? "" : `"${key}":${value}`;
}

function nanosField(key: string, value: bigint): string {
  return value === 0n ? "" : `"${key}":"${value}"`;
}
