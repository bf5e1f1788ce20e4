/** Metrics of the distributor. */
import { Counter, type Registry } from "prom-client";

export interface DistributorMetrics {
  spans: Counter<"tenant">;
  bytes: Counter<"tenant">;
  records: Counter;
  duplicateRecords: Counter;
  rejectedSpans: Counter<"reason">;
  refusedRequests: Counter<"reason">;
}

export function distributorMetrics(registry: Registry): DistributorMetrics {
  const registers = [registry];
  return {
    spans: new Counter({
      name: "spoor_distributor_spans_total",
      help: "Spans made durable in the log.",
      registers,
      labelNames: ["tenant"],
    }),
    bytes: new Counter({
      name: "spoor_distributor_bytes_total",
      help: "Bytes of requests whose spans were made durable, after decompression.",
      registers,
      labelNames: ["tenant"],
    }),
    records: new Counter({
      name: "spoor_distributor_records_total",
      help: "Records appended to the log, one per request and partition.",
      registers,
    }),
    duplicateRecords: new Counter({
      name: "spoor_distributor_duplicate_records_total",
      help: "Records that were in the log already: a client sent the same request again.",
      registers,
    }),
    rejectedSpans: new Counter({
      name: "spoor_distributor_rejected_spans_total",
      help: "Spans refused one by one, by reason.",
      registers,
      labelNames: ["reason"],
    }),
    refusedRequests: new Counter({
      name: "spoor_distributor_refused_requests_total",
      help: "Requests refused whole, by reason.",
      registers,
      labelNames: ["reason"],
    }),
  };
}
