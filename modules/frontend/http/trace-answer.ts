/**
 * Bytes of an answer with a trace, in the four forms that Tempo has: two API versions, JSON and
 * protobuf. Runs in place for small traces and on a worker thread (answer-worker.ts) for large
 * ones.
 *
 * | form | content |
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
  /** Why the trace may not be whole; "" if it is. Only v2 can say it. */
  partial: string;
}

/** PartialStatus.PARTIAL of tempopb. */
const statusPartial = 1;

/** The same as `traceAnswerChunks`, joined. */
export function encodeTraceAnswer(job: TraceAnswerJob): Uint8Array {
  return Buffer.concat(traceAnswerChunks(job));
}

/**
 * The answer in chunks of about a mebibyte: it may be longer than a text, or a buffer that doubles,
 * can be. Spans are copied from the pieces; those that must be read are objects one at a time.
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

/** The trace with spans that are decoded when they are asked for, and not kept. */
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

/** Texts as UTF-8, in chunks. */
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

/** Grafana dereferences `trace` unchecked: it is always written, even empty. */
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
 * Grafana hides all spans of a resource without attributes: it gets OpenTelemetry's default name.
 */
function withAttribute(one: WireResource): WireResource {
  if (one.resource.attributes.length > 0) return one;
  const value = { kind: "string" as const, value: "unknown_service" };
  return { ...one, resource: { ...one.resource, attributes: [{ key: "service.name", value }] } };
}
