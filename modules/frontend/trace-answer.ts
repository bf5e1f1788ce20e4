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
import { WireWriter } from "#pkg/bytes/wire-writer.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { nestedChunks, traceDataChunks } from "#pkg/otlp/encode-chunks.ts";
import { traceJsonTexts } from "#pkg/otlp/json-encode.ts";
import type { ResourceSpans, TraceData } from "#pkg/otlp/otlp.ts";
import { mergeTraces } from "./merge-trace.ts";

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
  return Buffer.concat(traceAnswerChunks({ ...job, pieces: job.pieces.slice() }));
}

/**
 * The answer in chunks of about a mebibyte: it may be longer than a text, or a buffer that doubles,
 * can be. Takes the job's pieces away, one by one: what is decoded is not needed any more.
 */
export function traceAnswerChunks({ pieces, format, partial }: TraceAnswerJob): Uint8Array[] {
  const decoded: TraceData[] = [];
  for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) {
    decoded.push(decodeTraceData(piece));
  }
  const trace = mergeTraces(decoded);
  decoded.length = 0;
  switch (format) {
    case "v1-json":
      return joinTexts(traceJsonTexts(trace, { dialect: "tempo", key: "batches" }));
    case "v1-protobuf":
      return traceDataChunks(trace);
    case "v2-json":
      return joinTexts(formatV2(trace, partial));
    default:
      return encodeV2(trace, partial);
  }
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

function* formatV2(trace: TraceData, partial: string): IterableIterator<string> {
  yield '{"trace":';
  yield* traceJsonTexts(trace, { dialect: "tempo", key: "resourceSpans" });
  const status = partial === "" ? "" : `,"status":"PARTIAL","message":${JSON.stringify(partial)}`;
  yield `,"metrics":{}${status}}`;
}

/** Grafana dereferences `trace` unchecked: it is always written, even empty. */
function encodeV2(trace: TraceData, partial: string): Uint8Array[] {
  const chunks = traceDataChunks({ resourceSpans: trace.resourceSpans.map(withAttribute) });
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
function withAttribute(one: ResourceSpans): ResourceSpans {
  if (one.resource.attributes.length > 0) return one;
  const value = { kind: "string" as const, value: "unknown_service" };
  return { ...one, resource: { ...one.resource, attributes: [{ key: "service.name", value }] } };
}
