/** Metrics of parts that have plain counters: the span log, the store and the logger. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { countsOf, estimateCost, type RequestPrices } from "#pkg/objstore/wrap/wrap.ts";
import {
  latencyBounds,
  requestKinds,
  storeEvents,
  type StoreLedger,
} from "#pkg/objstore/objstore.ts";
import type { ConsumerState, SpanLog, SpanLogStats } from "#pkg/spanlog/spanlog.ts";

type LogNumber = Exclude<keyof SpanLogStats, "refusedTotal">;

const logHelp: Record<LogNumber, string> = {
  bytes: "Bytes of the log's files.",
  records: "Records in the log, without trimmed ones.",
  segments: "Files of the log.",
  pendingBytes: "Bytes of records that wait for a write.",
  pendingRecords: "Records that wait for a write.",
  retryMemoryRecords: "Records remembered to recognise duplicates.",
  appendedRecordsTotal: "Records made durable.",
  appendedBytesTotal: "Bytes of records made durable.",
  groupsTotal: "Writes, each of one or more records.",
  fsyncsTotal: "Calls of fsync.",
  duplicatesTotal: "Records dropped as duplicates of records in the log.",
  retryMemoryEvictedTotal: "Records evicted early from the full memory of duplicates.",
  writeFailuresTotal: "Failed writes.",
  truncatedTailsTotal: "Torn ends of files that were truncated when the log was opened.",
  fencedRecordsTotal: "Records that former owners of the log wrote too late; they are ignored.",
  damagesTotal: "Damaged ranges found in the log.",
};

/** Exports the number of dropped log lines; `lines` returns it. */
export function observeLogger(registry: Registry, lines: () => number): void {
  // oxlint-disable-next-line no-new -- the registry keeps it
  new Counter({
    name: "spoor_logger_dropped_lines_total",
    help: "Log lines dropped because stderr was blocked for too long.",
    registers: [registry],
    collect() {
      this.reset();
      this.inc(lines());
    },
  });
}

/** Declares the histogram of log writes; returns a function that records one, milliseconds. */
export function logWriteSeconds(registry: Registry): (durationMs: number) => void {
  const histogram = new Histogram({
    name: "spoor_log_write_seconds",
    help: "Time to write a group of records and make it durable.",
    registers: [registry],
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3],
  });
  return (durationMs) => histogram.observe(durationMs / 1000);
}

/** Exports the span log's numbers under `spoor_log_`; they are read on every scrape. */
export function observeSpanLog(registry: Registry, spanLog: SpanLog): void {
  for (const [key, help] of Object.entries(logHelp)) {
    readWhenAsked(registry, { name: `spoor_log_${snakeCase(key)}`, help }, () => [
      { labels: {}, value: spanLog.stats()[key as LogNumber] },
    ]);
  }
  const help = "Records that the log refused, by reason.";
  readWhenAsked(registry, { name: "spoor_log_refused_total", help, labelNames: ["reason"] }, () =>
    Object.entries(spanLog.stats().refusedTotal).map(([reason, value]) => ({
      labels: { reason },
      value,
    })),
  );
  observeConsumers(registry, spanLog);
}

/** Exports the lag of the log's consumers, and the number of lost claims. */
function observeConsumers(registry: Registry, spanLog: SpanLog): void {
  const read = (
    valueOf: (state: ConsumerState) => number,
  ): (() => { labels: Record<string, string>; value: number }[]) => {
    return () =>
      spanLog.consumers().map((state) => {
        return { labels: { consumer: state.name }, value: valueOf(state) };
      });
  };
  const labelNames = ["consumer"];
  const prefix = "spoor_log_consumer";
  const records = "Records of the log that a consumer has not released.";
  const bytes = "Bytes of the log's files that a consumer has not released.";
  const lost = "Claims on partitions that a consumer lost because it was too far behind.";
  readWhenAsked(
    registry,
    { name: `${prefix}_behind_records`, help: records, labelNames },
    read(({ behindRecords }) => behindRecords),
  );
  readWhenAsked(
    registry,
    { name: `${prefix}_behind_bytes`, help: bytes, labelNames },
    read(({ behindBytes }) => behindBytes),
  );
  readWhenAsked(
    registry,
    { name: `${prefix}_claims_lost_total`, help: lost, labelNames },
    read(({ claimsLostTotal }) => claimsLostTotal),
  );
}

/** Exports the store requests of all threads under `spoor_store_`. */
export function observeStore(registry: Registry, ledger: StoreLedger, prices: RequestPrices): void {
  for (const what of ["requests", "failures", "bytes"] as const) {
    gaugeOf(registry, `${what}_total`, `Store ${what}, by kind of request.`, ["kind"], (gauge) => {
      for (const kind of requestKinds) gauge.set({ kind }, ledger.counts(kind)[what]);
    });
  }
  const events = "Events of the store's wrappers (retries, cache hits, ...), by event.";
  gaugeOf(registry, "events_total", events, ["event"], (gauge) => {
    for (const event of storeEvents) gauge.set({ event: snakeCase(event) }, ledger.events(event));
  });
  const cost = "Estimated cost of the requests by the configured prices.";
  gaugeOf(registry, "cost_total", cost, [], (gauge) => {
    gauge.set(estimateCost(countsOf(ledger), prices));
  });
  observeLatency(registry, ledger);
}

/** Exports latencies as a histogram, from counts in memory that all threads share. */
function observeLatency(registry: Registry, ledger: StoreLedger): void {
  const name = "latency_seconds";
  const labels = ["kind", "le"];
  const bounds = [...latencyBounds.map(String), "+Inf"];
  gaugeOf(registry, `${name}_bucket`, "Store requests by latency.", labels, (gauge) => {
    for (const kind of requestKinds) {
      let below = 0;
      ledger.latency(kind).buckets.forEach((count, i) => {
        below += count;
        gauge.set({ kind, le: bounds[i] }, below);
      });
    }
  });
  gaugeOf(registry, `${name}_sum`, "Seconds of all store requests.", ["kind"], (gauge) => {
    for (const kind of requestKinds) gauge.set({ kind }, ledger.latency(kind).seconds);
  });
  gaugeOf(registry, `${name}_count`, "Store requests that have ended.", ["kind"], (gauge) => {
    for (const kind of requestKinds) {
      const { buckets } = ledger.latency(kind);
      gauge.set(
        { kind },
        buckets.reduce((sum, count) => sum + count, 0),
      );
    }
  });
}

function gaugeOf(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  collect: (gauge: Gauge) => void,
): void {
  const gauge = new Gauge({
    name: `spoor_store_${name}`,
    help,
    registers: [registry],
    labelNames,
    collect() {
      collect(this as Gauge);
    },
  });
  if (labelNames.length > 0) gauge.reset();
}

interface MetricFacts {
  name: string;
  help: string;
  labelNames?: string[];
}

/** Declares a metric that is read on every scrape: a counter if its name ends in `_total`. */
function readWhenAsked(
  registry: Registry,
  facts: MetricFacts,
  read: () => { labels: Record<string, string>; value: number }[],
): void {
  const options = { ...facts, registers: [registry] };
  const metric = facts.name.endsWith("_total")
    ? new Counter<string>({
        ...options,
        collect() {
          this.reset();
          for (const { labels, value } of read()) this.inc(labels, value);
        },
      })
    : new Gauge<string>({
        ...options,
        collect() {
          for (const { labels, value } of read()) this.set(labels, value);
        },
      });
  metric.reset();
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
