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

/**
 * Registers the metrics of the distributor.
 *
 * @param splitThreads returns the number of threads that split large requests now.
 */
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
      help: "Spans made durable in the log, without duplicates of retried requests.",
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
      help: "Records made durable in the log, one per request and partition, with duplicates.",
      registers,
    }),
    duplicateRecords: new Counter({
      name: "spoor_distributor_duplicate_records_total",
      help: "Records that the log already had, since a client retried a request.",
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
