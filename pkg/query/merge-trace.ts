/**
 * Merges the pieces of one trace from heads and blocks. Spans equal in every field are duplicates
 * and are merged. Spans that share an id and differ otherwise are all kept. The result does not
 * depend on how the spans were distributed: content alone decides the order of resources, scopes,
 * spans and attributes.
 */
import { createHash } from "node:crypto";
import {
  encodeTraceData,
  type KeyValue,
  type ResourceSpans,
  type ScopeSpans,
  type Span,
  type TraceData,
} from "#pkg/otlp/otlp.ts";

/** A span with its resource and scope. */
interface FlatSpan {
  span: Span;
  resource: Envelope<ResourceSpans>;
  scope: Envelope<ScopeSpans>;
  /** Digest of the content; computed only when two spans must be compared. */
  content: string | undefined;
}

/** A resource or scope without its spans, and a key that is equal for equal content. */
export interface Envelope<T> {
  value: T;
  key: string;
}

/** Merges pieces into one trace. Does not change the pieces. */
export function mergeTraces(pieces: readonly TraceData[]): TraceData {
  const spans = withoutRepeats(pieces.flatMap(flatten));
  spans.sort(compareFlat);
  const out: TraceData = { resourceSpans: [] };
  const resources = new Map<string, ResourceSpans>();
  const scopes = new Map<string, ScopeSpans>();
  for (const { span, resource, scope } of spans) {
    let resourceSpans = resources.get(resource.key);
    if (resourceSpans === undefined) {
      resourceSpans = { ...resource.value, scopeSpans: [] };
      resources.set(resource.key, resourceSpans);
      out.resourceSpans.push(resourceSpans);
    }
    const scopeKey = `${resource.key}\n${scope.key}`;
    let scopeSpans = scopes.get(scopeKey);
    if (scopeSpans === undefined) {
      scopeSpans = { ...scope.value, spans: [] };
      scopes.set(scopeKey, scopeSpans);
      resourceSpans.scopeSpans.push(scopeSpans);
    }
    scopeSpans.spans.push(span);
  }
  return out;
}

function flatten(piece: TraceData): FlatSpan[] {
  const out: FlatSpan[] = [];
  for (const resourceSpans of piece.resourceSpans) {
    const resource = resourceEnvelope(resourceSpans);
    for (const scopeSpans of resourceSpans.scopeSpans) {
      const scope = scopeEnvelope(scopeSpans);
      for (const one of scopeSpans.spans) {
        const span = { ...one, attributes: sortedAttributes(one.attributes) };
        out.push({ span, resource, scope, content: undefined });
      }
    }
  }
  return out;
}

export function resourceEnvelope({ resource, schemaUrl }: ResourceSpans): Envelope<ResourceSpans> {
  const value: ResourceSpans = {
    resource: { ...resource, attributes: sortedAttributes(resource.attributes) },
    scopeSpans: [],
    schemaUrl,
  };
  return { value, key: contentText({ resourceSpans: [value] }) };
}

export function scopeEnvelope({ scope, schemaUrl }: ScopeSpans): Envelope<ScopeSpans> {
  const value: ScopeSpans = {
    scope: { ...scope, attributes: sortedAttributes(scope.attributes) },
    spans: [],
    schemaUrl,
  };
  return {
    value,
    key: contentText({ resourceSpans: [{ ...emptyResource(), scopeSpans: [value] }] }),
  };
}

function emptyResource(): ResourceSpans {
  return {
    resource: { attributes: [], droppedAttributesCount: 0, entityRefs: [] },
    scopeSpans: [],
    schemaUrl: "",
  };
}

/**
 * Sorts attributes by key: heads and blocks return them in different orders. The sort is stable, so
 * values of one key keep their order; the last one counts.
 */
export function sortedAttributes(attributes: readonly KeyValue[]): KeyValue[] {
  return [...attributes].sort((a, b) => compareText(a.key, b.key));
}

/** Returns the protobuf bytes as text, which is equal only for equal content. */
function contentText(data: TraceData): string {
  return Buffer.from(encodeTraceData(data)).toString("latin1");
}

/** Returns the SHA-256 of a span with its resource and scope: equal for equal content. */
export function contentDigest(resource: ResourceSpans, scope: ScopeSpans, span: Span): string {
  const data = { resourceSpans: [{ ...resource, scopeSpans: [{ ...scope, spans: [span] }] }] };
  return createHash("sha256").update(encodeTraceData(data)).digest("binary");
}

function contentOf(flat: FlatSpan): string {
  flat.content ??= contentDigest(flat.resource.value, flat.scope.value, flat.span);
  return flat.content;
}

/** Removes duplicates. Only spans that share an id are compared; others get no digest. */
function withoutRepeats(spans: readonly FlatSpan[]): FlatSpan[] {
  const firstOf = new Map<string, FlatSpan>();
  const contentsOf = new Map<string, Set<string>>();
  return spans.filter((flat) => {
    const id = idText(flat.span);
    const first = firstOf.get(id);
    if (first === undefined) {
      firstOf.set(id, flat);
      return true;
    }
    const contents = contentsOf.get(id) ?? new Set([contentOf(first)]);
    contentsOf.set(id, contents);
    const { size } = contents;
    return contents.add(contentOf(flat)).size > size;
  });
}

function idText({ traceId, spanId }: Span): string {
  return Buffer.concat([traceId, spanId]).toString("latin1");
}

function compareFlat(a: FlatSpan, b: FlatSpan): number {
  const startA = a.span.startTimeUnixNano;
  const startB = b.span.startTimeUnixNano;
  if (startA !== startB) return startA < startB ? -1 : 1;
  return Buffer.compare(a.span.spanId, b.span.spanId) || compareText(contentOf(a), contentOf(b));
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
