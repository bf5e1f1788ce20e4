/**
 * Encodes objects as OTLP protobuf bytes.
 *
 * Fields are written in the order of their numbers. Default values are omitted, except `resource`,
 * `scope` and `status`: Grafana's reader needs all three, even empty.
 */
import { WireWriter } from "#pkg/bytes/bytes.ts";
import type {
  AnyValue,
  EntityRef,
  KeyValue,
  Resource,
  ResourceSpans,
  Scope,
  ScopeSpans,
  Span,
  SpanEvent,
  SpanLink,
  TraceData,
} from "./trace-data.ts";

/** Encodes TracesData, ExportTraceServiceRequest or tempopb.Trace: their wire form is the same. */
export function encodeTraceData(data: TraceData): Uint8Array {
  const writer = new WireWriter(64 * 1024);
  writeTraceData(writer, data);
  return writer.bytes();
}

/** Writes the fields of TracesData, for messages that embed one. */
export function writeTraceData(writer: WireWriter, data: TraceData): void {
  for (const one of data.resourceSpans) writer.message(1, (w) => writeResourceSpans(w, one));
}

/** Writes a list of attributes as the repeated field `field`. */
export function writeAttributes(writer: WireWriter, field: number, attributes: KeyValue[]): void {
  for (const { key, value } of attributes) {
    writer.message(field, (w) => {
      writeString(w, 1, key);
      if (value.kind !== "empty") w.message(2, (inner) => writeAnyValue(inner, value));
    });
  }
}

/** Writes the fields of an AnyValue message. */
export function writeAnyValue(writer: WireWriter, value: AnyValue): void {
  switch (value.kind) {
    case "string":
      writer.string(1, value.value);
      return;
    case "bool":
      writer.uint(2, value.value ? 1 : 0);
      return;
    case "int":
      writer.int64(3, value.value);
      return;
    case "double":
      writer.double(4, value.value);
      return;
    case "array":
      writer.message(5, (w) => {
        for (const one of value.values) w.message(1, (inner) => writeAnyValue(inner, one));
      });
      return;
    case "kvlist":
      writer.message(6, (w) => writeAttributes(w, 1, value.values));
      return;
    case "bytes":
      writer.bytesField(7, value.value);
      return;
    case "empty":
  }
}

function writeResourceSpans(writer: WireWriter, one: ResourceSpans): void {
  writer.message(1, (w) => writeResource(w, one.resource));
  for (const scopeSpans of one.scopeSpans) {
    writer.message(2, (w) => writeScopeSpans(w, scopeSpans));
  }
  writeString(writer, 3, one.schemaUrl);
}

/** Writes the fields of a Resource message. */
export function writeResource(writer: WireWriter, resource: Resource): void {
  writeAttributes(writer, 1, resource.attributes);
  writeUint(writer, 2, resource.droppedAttributesCount);
  for (const ref of resource.entityRefs) writer.message(3, (w) => writeEntityRef(w, ref));
}

function writeEntityRef(writer: WireWriter, ref: EntityRef): void {
  writeString(writer, 1, ref.schemaUrl);
  writeString(writer, 2, ref.type);
  for (const key of ref.idKeys) writer.string(3, key);
  for (const key of ref.descriptionKeys) writer.string(4, key);
}

function writeScopeSpans(writer: WireWriter, one: ScopeSpans): void {
  writer.message(1, (w) => writeScope(w, one.scope));
  for (const span of one.spans) writer.message(2, (w) => writeSpan(w, span));
  writeString(writer, 3, one.schemaUrl);
}

/** Writes the fields of an InstrumentationScope message. */
export function writeScope(writer: WireWriter, scope: Scope): void {
  writeString(writer, 1, scope.name);
  writeString(writer, 2, scope.version);
  writeAttributes(writer, 3, scope.attributes);
  writeUint(writer, 4, scope.droppedAttributesCount);
}

/** Writes the fields of a Span message. */
export function writeSpan(writer: WireWriter, span: Span): void {
  writeBytes(writer, 1, span.traceId);
  writeBytes(writer, 2, span.spanId);
  writeString(writer, 3, span.traceState);
  writeBytes(writer, 4, span.parentSpanId);
  writeString(writer, 5, span.name);
  writeEnum(writer, 6, span.kind);
  writeFixed64(writer, 7, span.startTimeUnixNano);
  writeFixed64(writer, 8, span.endTimeUnixNano);
  writeAttributes(writer, 9, span.attributes);
  writeUint(writer, 10, span.droppedAttributesCount);
  for (const event of span.events) writer.message(11, (w) => writeEvent(w, event));
  writeUint(writer, 12, span.droppedEventsCount);
  for (const link of span.links) writer.message(13, (w) => writeLink(w, link));
  writeUint(writer, 14, span.droppedLinksCount);
  writer.message(15, (w) => {
    writeString(w, 2, span.status.message);
    writeEnum(w, 3, span.status.code);
  });
  writeFixed32(writer, 16, span.flags);
}

function writeEvent(writer: WireWriter, event: SpanEvent): void {
  writeFixed64(writer, 1, event.timeUnixNano);
  writeString(writer, 2, event.name);
  writeAttributes(writer, 3, event.attributes);
  writeUint(writer, 4, event.droppedAttributesCount);
}

function writeLink(writer: WireWriter, link: SpanLink): void {
  writeBytes(writer, 1, link.traceId);
  writeBytes(writer, 2, link.spanId);
  writeString(writer, 3, link.traceState);
  writeAttributes(writer, 4, link.attributes);
  writeUint(writer, 5, link.droppedAttributesCount);
  writeFixed32(writer, 6, link.flags);
}

function writeString(writer: WireWriter, field: number, value: string): void {
  if (value !== "") writer.string(field, value);
}

function writeBytes(writer: WireWriter, field: number, value: Uint8Array): void {
  if (value.length > 0) writer.bytesField(field, value);
}

function writeUint(writer: WireWriter, field: number, value: number): void {
  if (value !== 0) writer.uint(field, value);
}

/** Writes an enum (int32). Negative numbers take ten bytes, because they are sign-extended. */
function writeEnum(writer: WireWriter, field: number, value: number): void {
  if (value < 0) writer.int64(field, BigInt(value));
  else writeUint(writer, field, value);
}

function writeFixed64(writer: WireWriter, field: number, value: bigint): void {
  if (value !== 0n) writer.fixed64(field, value);
}

function writeFixed32(writer: WireWriter, field: number, value: number): void {
  if (value !== 0) writer.fixed32(field, value);
}
