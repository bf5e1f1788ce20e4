/**
 * Merges the pieces of one trace as `mergeTraces` does, without decoding all spans. A span stays a
 * byte range of its piece and is decoded only when its fields are needed.
 */
import { wireBytes, WireReader, WireWriter } from "#pkg/bytes/bytes.ts";
import { decodeTraceData, type ResourceSpans, type ScopeSpans, type Span } from "#pkg/otlp/otlp.ts";
import {
  compareText,
  contentDigest,
  type Envelope,
  resourceEnvelope,
  scopeEnvelope,
  sortedAttributes,
} from "./merge-trace.ts";

/** A Span message: bytes `from` to `to` of a piece, and its sort key. */
export interface WireSpan {
  piece: Uint8Array;
  from: number;
  to: number;
  start: bigint;
  /** The bytes of the id as Latin-1 text. */
  traceId: string;
  spanId: string;
  /** Whether its attributes are sorted by key. */
  isSorted: boolean;
}

export interface WireScope {
  scope: ScopeSpans["scope"];
  schemaUrl: string;
  spans: WireSpan[];
}

export interface WireResource {
  resource: ResourceSpans["resource"];
  schemaUrl: string;
  scopeSpans: WireScope[];
}

/** A span with its resource and scope. */
interface FlatSpan {
  span: WireSpan;
  resource: Envelope<ResourceSpans>;
  scope: Envelope<ScopeSpans>;
  /** Digest of the content; computed only when two spans must be compared. */
  content: string | undefined;
}

export type DecodeSpan = (span: WireSpan) => Span;

/**
 * Merges pieces of protobuf TracesData. Does not change them. Throws InvalidInput for malformed
 * bytes.
 *
 * @param decode Decodes spans that must be compared with others.
 */
export function mergeWire(
  pieces: readonly Uint8Array[],
  decode: DecodeSpan = decodeSpan,
): WireResource[] {
  const spans = withoutRepeats(pieces.flatMap(flatten), decode);
  spans.sort((a, b) => compareFlat(a, b, decode));
  const out: WireResource[] = [];
  const resources = new Map<string, WireResource>();
  const scopes = new Map<string, WireScope>();
  for (const { span, resource, scope } of spans) {
    let one = resources.get(resource.key);
    if (one === undefined) {
      one = { ...resource.value, scopeSpans: [] };
      resources.set(resource.key, one);
      out.push(one);
    }
    const scopeKey = `${resource.key}\n${scope.key}`;
    let scopeSpans = scopes.get(scopeKey);
    if (scopeSpans === undefined) {
      scopeSpans = { ...scope.value, spans: [] };
      scopes.set(scopeKey, scopeSpans);
      one.scopeSpans.push(scopeSpans);
    }
    scopeSpans.spans.push(span);
  }
  return out;
}

/** Decodes one span and sorts its attributes by key. */
export function decodeSpan({ piece, from, to }: WireSpan): Span {
  const scopeSpans = new WireWriter(to - from + 32);
  scopeSpans.message(1, (outer) => {
    outer.message(2, (w) => w.bytesField(2, piece.subarray(from, to)));
  });
  const [{ scopeSpans: scopes }] = decodeTraceData(scopeSpans.bytes()).resourceSpans;
  const [span] = scopes[0].spans;
  return { ...span, attributes: sortedAttributes(span.attributes) };
}

function flatten(piece: Uint8Array): FlatSpan[] {
  const out: FlatSpan[] = [];
  for (const [from, to] of nested(piece, [0, piece.length], 1)) {
    const resource = resourceEnvelope(decodeAround(piece, [from, to]));
    for (const range of nested(piece, [from, to], 2)) {
      const scope = scopeEnvelope(decodeScopeAround(piece, range));
      for (const [start, end] of nested(piece, range, 2)) {
        out.push({ span: readSpan(piece, start, end), resource, scope, content: undefined });
      }
    }
  }
  return out;
}

type Range = readonly [from: number, to: number];

/** Returns the byte range of the content of each occurrence of a field. */
function nested(piece: Uint8Array, [from, to]: Range, field: number): Range[] {
  const reader = new WireReader(piece, from, to);
  const out: Range[] = [];
  while (reader.pos < to) {
    const tag = reader.tag();
    if (tag >>> 3 === field && (tag & 7) !== wireBytes) {
      reader.fail(`field ${field} has wire type ${tag & 7}`);
    }
    if (tag >>> 3 === field) {
      const end = reader.lengthEnd();
      out.push([reader.pos, end]);
      reader.pos = end;
    } else reader.skip(tag);
  }
  return out;
}

/** Returns the bytes of a message without its field 2. */
function around(piece: Uint8Array, [from, to]: Range): Uint8Array {
  const reader = new WireReader(piece, from, to);
  const parts: Uint8Array[] = [];
  while (reader.pos < to) {
    const start = reader.pos;
    const tag = reader.tag();
    reader.skip(tag);
    if (tag >>> 3 !== 2) parts.push(piece.subarray(start, reader.pos));
  }
  return Buffer.concat(parts);
}

function decodeAround(piece: Uint8Array, range: Range): ResourceSpans {
  const writer = new WireWriter();
  writer.bytesField(1, around(piece, range));
  return decodeTraceData(writer.bytes()).resourceSpans[0];
}

function decodeScopeAround(piece: Uint8Array, range: Range): ScopeSpans {
  const writer = new WireWriter();
  writer.message(1, (w) => w.bytesField(2, around(piece, range)));
  return decodeTraceData(writer.bytes()).resourceSpans[0].scopeSpans[0];
}

function readSpan(piece: Uint8Array, from: number, to: number): WireSpan {
  const span = { piece, from, to, start: 0n, traceId: "", spanId: "", isSorted: true };
  const reader = new WireReader(piece, from, to);
  let lastKey = "";
  while (reader.pos < to) {
    const tag = reader.tag();
    if (tag === ((1 << 3) | wireBytes)) span.traceId = readText(reader, "latin1");
    else if (tag === ((2 << 3) | wireBytes)) span.spanId = readText(reader, "latin1");
    else if (tag === ((7 << 3) | 1)) {
      reader.fixed64();
      span.start = (BigInt(reader.hi) << 32n) | BigInt(reader.lo);
    } else if (tag === ((9 << 3) | wireBytes)) {
      const end = reader.lengthEnd();
      const key = keyOf(piece, reader.pos, end);
      reader.pos = end;
      if (compareText(key, lastKey) < 0) span.isSorted = false;
      lastKey = key;
    } else reader.skip(tag);
  }
  return span;
}

function keyOf(piece: Uint8Array, from: number, to: number): string {
  const reader = new WireReader(piece, from, to);
  let key = "";
  while (reader.pos < to) {
    const tag = reader.tag();
    if (tag === ((1 << 3) | wireBytes)) key = readText(reader, "utf8");
    else reader.skip(tag);
  }
  return key;
}

function readText(reader: WireReader, encoding: "latin1" | "utf8"): string {
  const end = reader.lengthEnd();
  const { buffer, byteOffset } = reader.buf;
  const from = reader.pos;
  reader.pos = end;
  return Buffer.from(buffer, byteOffset + from, end - from).toString(encoding);
}

function contentOf(flat: FlatSpan, decode: DecodeSpan): string {
  const { resource, scope, span } = flat;
  flat.content ??= contentDigest(resource.value, scope.value, decode(span));
  return flat.content;
}

/** Removes duplicates. Only spans that share an id are compared; others get no digest. */
function withoutRepeats(spans: readonly FlatSpan[], decode: DecodeSpan): FlatSpan[] {
  const firstOf = new Map<string, FlatSpan>();
  const contentsOf = new Map<string, Set<string>>();
  return spans.filter((flat) => {
    const id = flat.span.traceId + flat.span.spanId;
    const first = firstOf.get(id);
    if (first === undefined) {
      firstOf.set(id, flat);
      return true;
    }
    const contents = contentsOf.get(id) ?? new Set([contentOf(first, decode)]);
    contentsOf.set(id, contents);
    const { size } = contents;
    return contents.add(contentOf(flat, decode)).size > size;
  });
}

function compareFlat(a: FlatSpan, b: FlatSpan, decode: DecodeSpan): number {
  if (a.span.start !== b.span.start) return a.span.start < b.span.start ? -1 : 1;
  return (
    compareText(a.span.spanId, b.span.spanId) ||
    compareText(contentOf(a, decode), contentOf(b, decode))
  );
}
