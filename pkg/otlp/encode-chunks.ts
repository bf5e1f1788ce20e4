/** Encodes traces of any size as OTLP protobuf in chunks, so that no buffer holds a whole trace. */
import { WireWriter } from "#pkg/bytes/bytes.ts";
import { writeResource, writeScope, writeSpan } from "./encode.ts";
import type { Resource, Scope, Span, TraceData } from "./trace-data.ts";

const chunkBytes = 1024 * 1024;

/** A trace whose spans are of any type; a `WriteSpan` encodes them. */
interface SpansOf<S> {
  resourceSpans: readonly ResourceOf<S>[];
}

interface ResourceOf<S> {
  resource: Resource;
  schemaUrl: string;
  scopeSpans: readonly ScopeOf<S>[];
}

interface ScopeOf<S> {
  scope: Scope;
  schemaUrl: string;
  spans: readonly S[];
}

/** Writes one span as the field of this number. */
type WriteSpan<S> = (writer: WireWriter, field: number, span: S) => void;

/** Encodes as `encodeTraceData` does, in chunks. The caller concatenates them. */
export function traceDataChunks(data: TraceData): Uint8Array[] {
  return spansChunks<Span>(data, (writer, field, span) => {
    writer.message(field, (w) => writeSpan(w, span));
  });
}

/** Encodes a trace in chunks; `write` encodes each span. */
export function spansChunks<S>(data: SpansOf<S>, write: WriteSpan<S>): Uint8Array[] {
  return data.resourceSpans.flatMap((one) => nestedChunks(1, resourceSpansChunks(one, write)));
}

/** Wraps encoded content in the head of a nested message. */
export function nestedChunks(field: number, content: readonly Uint8Array[]): Uint8Array[] {
  const head = new WireWriter();
  head.messageHead(
    field,
    content.reduce((sum, { length }) => sum + length, 0),
  );
  return [head.bytes(), ...content];
}

function resourceSpansChunks<S>(
  { resource, scopeSpans, schemaUrl }: ResourceOf<S>,
  write: WriteSpan<S>,
): Uint8Array[] {
  const head = new WireWriter();
  head.message(1, (w) => writeResource(w, resource));
  const own = scopeSpans.flatMap((one) => nestedChunks(2, scopeSpansChunks(one, write)));
  return [head.bytes(), ...own, textField(3, schemaUrl)];
}

function scopeSpansChunks<S>(
  { scope, spans, schemaUrl }: ScopeOf<S>,
  write: WriteSpan<S>,
): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  const writer = new WireWriter();
  writer.message(1, (w) => writeScope(w, scope));
  for (const span of spans) {
    write(writer, 2, span);
    if (writer.sizeBytes < chunkBytes) continue;
    // Copies the bytes, because the writer's buffer is reused for the next chunk.
    chunks.push(new Uint8Array(writer.bytes()));
    writer.reset();
  }
  return [...chunks, new Uint8Array(writer.bytes()), textField(3, schemaUrl)];
}

function textField(field: number, text: string): Uint8Array {
  const writer = new WireWriter();
  if (text !== "") writer.string(field, text);
  return writer.bytes();
}
