/** OTLP protobuf of traces of any size, in chunks: no buffer grows with the whole of it. */
import { WireWriter } from "#pkg/bytes/wire-writer.ts";
import { writeResource, writeScope, writeSpan } from "./encode.ts";
import type { Resource, Scope, Span, TraceData } from "./otlp.ts";

const chunkBytes = 1024 * 1024;

/** A trace whose spans are written by a function. */
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

/** What `encodeTraceData` writes, in chunks that are to be joined. */
export function traceDataChunks(data: TraceData): Uint8Array[] {
  return spansChunks<Span>(data, (writer, field, span) => {
    writer.message(field, (w) => writeSpan(w, span));
  });
}

/** The same of spans that `write` writes. */
export function spansChunks<S>(data: SpansOf<S>, write: WriteSpan<S>): Uint8Array[] {
  return data.resourceSpans.flatMap((one) => nestedChunks(1, resourceSpansChunks(one, write)));
}

/** A nested message whose content is there in chunks. */
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
  let writer = new WireWriter();
  writer.message(1, (w) => writeScope(w, scope));
  for (const span of spans) {
    write(writer, 2, span);
    if (writer.sizeBytes < chunkBytes) continue;
    // A copy of its length: the buffer has room for more.
    chunks.push(new Uint8Array(writer.bytes()));
    writer = new WireWriter(chunkBytes);
  }
  return [...chunks, new Uint8Array(writer.bytes()), textField(3, schemaUrl)];
}

function textField(field: number, text: string): Uint8Array {
  const writer = new WireWriter();
  if (text !== "") writer.string(field, text);
  return writer.bytes();
}
