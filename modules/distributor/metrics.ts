/** Metrics of the distributor. */
import { Counter, Gauge, type Registry } from "prom-client";

export interface DistributorMetrics {
  spans: Counter<"tenant">;
  bytes: Counter<"tenant">;
  records: Counter;
  duplicateRecords: Counter;
  rejectedSpans: Counter<"reason">;
  refusedRequests: Counter<"reason">;
}

/** `splitThreads` tells how many threads split large requests now. */
export function distributorMetrics(
  registry: Registry,
  splitThreads: () => number,
): DistributorMetrics {
  const registers = [registry];
  // oxlint-disable-next-line no-new -- the registry keeps it
  new Gauge({
    name: "spoor_distributor_split_threads",
    help: "Threads that split large requests now.",
    registers,
    collect() {
      this.set(splitThreads());
    },
  });
  return {
    spans: new Counter({
      name: "spoor_distributor_spans_total",
      help: "Spans made durable in the log, repeats of a request not counted.",
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
      help: "Records made durable in the log, one per request and partition, with repeats.",
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
