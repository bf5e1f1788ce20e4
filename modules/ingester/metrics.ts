/** Metrics of the ingester. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

export interface IngesterMetrics {
  blocks: Counter;
  blockBytes: Counter;
  blockSpans: Counter;
  duplicateSpans: Counter;
  quarantinedRecords: Counter;
  quarantineRecords: Gauge;
  quarantineSpans: Gauge;
  quarantineBytes: Gauge;
  failingTenants: Gauge;
  storeFailures: Counter<"reason">;
  cutSeconds: Histogram;
  storeSeconds: Histogram;
  commitSeconds: Histogram;
  workerRestarts: Counter;
  cutAttributes: Counter<"tenant" | "reason">;
  largeTraces: Counter<"tenant">;
  missingLogRecords: Counter;
  headSpans: Gauge<"partition">;
  headBytes: Gauge<"partition">;
  decodedSpans: Gauge<"partition">;
  behindRecords: Gauge<"partition">;
  lostRecords: Gauge<"partition">;
  undecodableRecords: Gauge<"partition">;
  repairedStrings: Gauge<"partition">;
  pins: Gauge<"partition">;
  stalled: Gauge<"partition">;
  searchThreadsEnded: Counter<"reason">;
  /** Sets the source of the numbers of requests to heads. */
  searches: (read: () => { running: number; waiting: number }) => void;
}

/** Declares the metrics. `refresh` updates the gauges; it is awaited on every scrape. */
export function ingesterMetrics(registry: Registry, refresh: () => Promise<void>): IngesterMetrics {
  const registers = [registry];
  const counter = (name: string, help: string): Counter =>
    new Counter({ name: `spoor_ingester_${name}`, help, registers });
  const seconds = (name: string, help: string): Histogram =>
    new Histogram({
      name: `spoor_ingester_${name}`,
      help,
      registers,
      buckets: [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30],
    });
  const gauge = (name: string, help: string): Gauge<"partition"> =>
    new Gauge({
      name: `spoor_ingester_${name}`,
      help,
      registers,
      labelNames: ["partition"],
      collect: refresh,
    });
  return {
    blocks: counter("blocks_total", "Blocks committed to tables."),
    blockBytes: counter("block_bytes_total", "Bytes of the blocks committed to tables."),
    blockSpans: counter("block_spans_total", "Spans of the blocks committed to tables."),
    duplicateSpans: counter(
      "duplicate_spans_total",
      "Spans dropped from a block because an equal span was in it already.",
    ),
    ...quarantineMetrics(registry, refresh),
    storeFailures: new Counter({
      name: "spoor_ingester_store_failures_total",
      help: "Failed attempts to store or commit a head, by reason.",
      registers,
      labelNames: ["reason"],
    }),
    cutSeconds: seconds("cut_seconds", "Time to encode a head as a block."),
    storeSeconds: seconds("store_seconds", "Time to put a block into the bucket."),
    commitSeconds: seconds("commit_seconds", "Time to commit a block to its table."),
    workerRestarts: counter("worker_restarts_total", "Partition workers that were restarted."),
    cutAttributes: new Counter({
      name: "spoor_ingester_cut_attributes_total",
      help: "Attributes whose key or value was cut, or that were dropped, by limit.",
      registers,
      labelNames: ["tenant", "reason"],
    }),
    largeTraces: new Counter({
      name: "spoor_ingester_large_traces_total",
      help: "Traces with more spans in one head than the tenant's limit; they are kept.",
      registers,
      labelNames: ["tenant"],
    }),
    missingLogRecords: counter(
      "missing_log_records_total",
      "Acknowledged records that are in no block and not in this log.",
    ),
    ...liveGauges(gauge),
    ...searchMetrics(registry),
  };
}

type LiveGauges = Pick<
  IngesterMetrics,
  | "headSpans"
  | "headBytes"
  | "decodedSpans"
  | "behindRecords"
  | "lostRecords"
  | "undecodableRecords"
  | "repairedStrings"
  | "pins"
  | "stalled"
>;

/** Declares the gauges of the partition workers. */
function liveGauges(gauge: (name: string, help: string) => Gauge<"partition">): LiveGauges {
  return {
    headSpans: gauge("head_spans", "Spans in heads, which are in no block yet."),
    headBytes: gauge("head_bytes", "Memory of heads, bytes."),
    decodedSpans: gauge(
      "decoded_spans_total",
      "Spans decoded from the log since the worker started.",
    ),
    behindRecords: gauge("behind_records", "Durable log records that are in no head yet."),
    lostRecords: gauge("lost_records", "Log records that are damaged and cannot be read."),
    undecodableRecords: gauge("undecodable_records", "Log records that do not decode."),
    repairedStrings: gauge("repaired_strings", "Strings that were not UTF-8 and were repaired."),
    pins: gauge("pins", "Queries that pin heads."),
    stalled: gauge("stalled", "1 while the log is not read because heads take all the memory."),
  };
}

type QuarantineMetrics = Pick<
  IngesterMetrics,
  | "quarantinedRecords"
  | "quarantineRecords"
  | "quarantineSpans"
  | "quarantineBytes"
  | "failingTenants"
>;

function quarantineMetrics(registry: Registry, refresh: () => Promise<void>): QuarantineMetrics {
  const registers = [registry];
  const total = (name: string, help: string): Gauge =>
    new Gauge({ name: `spoor_ingester_${name}`, help, registers, collect: refresh });
  return {
    quarantinedRecords: new Counter({
      name: "spoor_ingester_quarantined_records_total",
      help: "Log records that could not become a block and were put into quarantine.",
      registers,
    }),
    quarantineRecords: total("quarantine_records", "Log records in the quarantine folder."),
    quarantineSpans: total(
      "quarantine_spans",
      "Acknowledged spans in the quarantine folder, except in records that do not parse.",
    ),
    failingTenants: total(
      "failing_tenants",
      "Tenants that are not served because their table cannot be read.",
    ),
    quarantineBytes: total("quarantine_bytes", "Bytes of the records in the quarantine folder."),
  };
}

function searchMetrics(
  registry: Registry,
): Pick<IngesterMetrics, "searchThreadsEnded" | "searches"> {
  const searchThreadsEnded = new Counter({
    name: "spoor_ingester_search_threads_ended_total",
    help: "Threads that were ended during the search of a head, by reason: timeout, canceled.",
    registers: [registry],
    labelNames: ["reason"],
  });
  return { searchThreadsEnded, searches: (read) => searchesGauge(registry, read) };
}

function searchesGauge(registry: Registry, read: () => { running: number; waiting: number }): void {
  const gauge = new Gauge({
    name: "spoor_ingester_head_searches",
    help: "Requests to heads that run on a thread now, and that wait for one.",
    labelNames: ["state"],
    registers: [registry],
    collect() {
      for (const [state, count] of Object.entries(read())) this.set({ state }, count);
    },
  });
  gauge.reset();
}
