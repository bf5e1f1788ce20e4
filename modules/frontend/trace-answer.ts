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
import { encodeTraceData, writeTraceData } from "#pkg/otlp/encode.ts";
import { formatTraceJson } from "#pkg/otlp/json-encode.ts";
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

export function encodeTraceAnswer({ pieces, format, partial }: TraceAnswerJob): Uint8Array {
  const trace = mergeTraces(pieces.map((piece) => decodeTraceData(piece)));
  switch (format) {
    case "v1-json":
      return Buffer.from(formatTraceJson(trace, { dialect: "tempo", key: "batches" }));
    case "v1-protobuf":
      return encodeTraceData(trace);
    case "v2-json":
      return Buffer.from(formatV2(trace, partial));
    default:
      return encodeV2(trace, partial);
  }
}

function formatV2(trace: TraceData, partial: string): string {
  const json = formatTraceJson(trace, { dialect: "tempo", key: "resourceSpans" });
  const status = partial === "" ? "" : `,"status":"PARTIAL","message":${JSON.stringify(partial)}`;
  return `{"trace":${json},"metrics":{}${status}}`;
}

/** Grafana dereferences `trace` unchecked: it is always written, even empty. */
function encodeV2(trace: TraceData, partial: string): Uint8Array {
  const writer = new WireWriter(64 * 1024);
  const resourceSpans = trace.resourceSpans.map(withAttribute);
  writer.message(1, (w) => writeTraceData(w, { resourceSpans }));
  writer.message(2, () => undefined);
  if (partial !== "") {
    writer.uint(3, statusPartial);
    writer.string(4, partial);
  }
  return writer.bytes();
}

/**
 * Grafana hides all spans of a resource without attributes: it gets OpenTelemetry's default name.
 */
function withAttribute(one: ResourceSpans): ResourceSpans {
  if (one.resource.attributes.length > 0) return one;
  const value = { kind: "string" as const, value: "unknown_service" };
  return { ...one, resource: { ...one.resource, attributes: [{ key: "service.name", value }] } };
}
