/**
 * Encodes a trace response in Tempo's four formats: two API versions, each as JSON and protobuf.
 * Runs in place for small traces and on a worker thread (answer-worker.ts) for large ones.
 *
 * | format | content |
 * |---|---|
 * | v1 JSON | `{"batches": [ResourceSpans]}` |
 * | v1 protobuf | tempopb.Trace, wire-equal to OTLP TracesData |
 * | v2 JSON | `{"trace": {"resourceSpans": []}, "metrics": {}, "status": "", "message": ""}` |
 * | v2 protobuf | tempopb.TraceByIDResponse: trace = 1, metrics = 2, status = 3, message = 4 |
 */
import { WireWriter } from "#pkg/bytes/bytes.ts";
import {
  nestedChunks,
  spansChunks,
  type SpansOnDemand,
  traceJsonTexts,
  writeSpan,
} from "#pkg/otlp/otlp.ts";
import {
  type DecodeSpan,
  decodeSpan,
  mergeWire,
  type WireResource,
  type WireSpan,
} from "#pkg/query/query.ts";

export type TraceFormat = "v1-json" | "v1-protobuf" | "v2-json" | "v2-protobuf";

export interface TraceAnswerJob {
  /** Protobuf TracesData. */
  pieces: Uint8Array[];
  format: TraceFormat;
  /** Why the trace may be incomplete; "" if it is complete. Only v2 has a field for it. */
  partial: string;
}

/** PartialStatus.PARTIAL of tempopb. */
const statusPartial = 1;

/** Returns the chunks of `traceAnswerChunks`, joined. */
export function encodeTraceAnswer(job: TraceAnswerJob): Uint8Array {
  return Buffer.concat(traceAnswerChunks(job));
}

/**
 * Encodes a response in chunks of about 1 MiB, since a whole response may exceed the longest string
 * or buffer. Spans are copied from the pieces as bytes; spans that must be decoded are objects one
 * at a time.
 */
export function traceAnswerChunks(
  { pieces, format, partial }: TraceAnswerJob,
  decode: DecodeSpan = decodeSpan,
): Uint8Array[] {
  const trace = mergeWire(pieces, decode);
  switch (format) {
    case "v1-json":
      return joinTexts(
        traceJsonTexts(readable(trace, decode), { dialect: "tempo", key: "batches" }),
      );
    case "v1-protobuf":
      return wireChunks(trace, decode);
    case "v2-json":
      return joinTexts(formatV2(readable(trace, decode), partial));
    default:
      return encodeV2(wireChunks(trace.map(withAttribute), decode), partial);
  }
}

/** Returns a trace whose spans are decoded while they are iterated, and not kept. */
function readable(trace: readonly WireResource[], decode: DecodeSpan): SpansOnDemand {
  const resourceSpans = trace.map((one) => ({
    ...one,
    scopeSpans: one.scopeSpans.map((scope) => ({
      ...scope,
      spans: { [Symbol.iterator]: () => scope.spans.values().map(decode) },
    })),
  }));
  return { resourceSpans };
}

function wireChunks(resourceSpans: readonly WireResource[], decode: DecodeSpan): Uint8Array[] {
  return spansChunks<WireSpan>({ resourceSpans }, (writer, field, span) => {
    const { piece, from, to, isSorted } = span;
    if (isSorted) writer.bytesField(field, piece.subarray(from, to));
    else writer.message(field, (w) => writeSpan(w, decode(span)));
  });
}

const chunkBytes = 1024 * 1024;

/** Encodes texts as UTF-8, in chunks. */
function joinTexts(texts: Iterable<string>): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let open: string[] = [];
  let chars = 0;
  for (const text of texts) {
    open.push(text);
    chars += text.length;
    if (chars < chunkBytes) continue;
    chunks.push(Buffer.from(open.join("")));
    open = [];
    chars = 0;
  }
  return [...chunks, Buffer.from(open.join(""))];
}

function* formatV2(trace: SpansOnDemand, partial: string): IterableIterator<string> {
  yield '{"trace":';
  yield* traceJsonTexts(trace, { dialect: "tempo", key: "resourceSpans" });
  const status = partial === "" ? "" : `,"status":"PARTIAL","message":${JSON.stringify(partial)}`;
  yield `,"metrics":{}${status}}`;
}

/** Encodes v2 protobuf. Grafana dereferences `trace` unchecked: an empty one is written too. */
function encodeV2(chunks: readonly Uint8Array[], partial: string): Uint8Array[] {
  const rest = new WireWriter();
  rest.message(2, () => undefined);
  if (partial !== "") {
    rest.uint(3, statusPartial);
    rest.string(4, partial);
  }
  return [...nestedChunks(1, chunks), rest.bytes()];
}

/**
 * Adds OpenTelemetry's default service name to a resource without attributes: Grafana hides the
 * spans of such a resource.
 */
function withAttribute(one: WireResource): WireResource {
  if (one.resource.attributes.length > 0) return one;
  const value = { kind: "string" as const, value: "unknown_service" };
  return { ...one, resource: { ...one.resource, attributes: [{ key: "service.name", value }] } };
}
