/** Metrics of parts that keep plain counters of their own: the span log and the store. */
import { Gauge, type Registry } from "prom-client";
import { countsOf, estimateCost, type RequestPrices } from "#pkg/objstore/count.ts";
import {
  latencyBounds,
  requestKinds,
  storeEvents,
  type StoreLedger,
} from "#pkg/objstore/ledger.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";

/** Exports the span log's numbers under `spoor_log_`, read when metrics are asked for. */
export function observeSpanLog(registry: Registry, spanLog: SpanLog): void {
  const numbers = new Gauge({
    name: "spoor_log",
    help: "State and totals of the span log, by name; those that end in _total only grow.",
    registers: [registry],
    labelNames: ["name"],
    collect() {
      for (const [name, value] of Object.entries(spanLog.stats())) {
        if (typeof value === "number") this.set({ name: snakeCase(name) }, value);
      }
    },
  });
  const refused = new Gauge({
    name: "spoor_log_refused_total",
    help: "Records that the span log refused, by reason.",
    registers: [registry],
    labelNames: ["reason"],
    collect() {
      for (const [reason, value] of Object.entries(spanLog.stats().refusedTotal)) {
        this.set({ reason }, value);
      }
    },
  });
  numbers.reset();
  refused.reset();
}

/** Exports what all threads asked of the store, under `spoor_store_`. */
export function observeStore(registry: Registry, ledger: StoreLedger, prices: RequestPrices): void {
  for (const what of ["requests", "failures", "bytes"] as const) {
    gaugeOf(registry, `${what}_total`, `Store ${what}, by kind of request.`, ["kind"], (gauge) => {
      for (const kind of requestKinds) gauge.set({ kind }, ledger.counts(kind)[what]);
    });
  }
  const events = "What the store's wrappers did besides passing requests on, by event.";
  gaugeOf(registry, "events_total", events, ["event"], (gauge) => {
    for (const event of storeEvents) gauge.set({ event: snakeCase(event) }, ledger.events(event));
  });
  const cost = "What the requests cost by the configured prices, an estimate.";
  gaugeOf(registry, "cost_total", cost, [], (gauge) => {
    gauge.set(estimateCost(countsOf(ledger), prices));
  });
  observeLatency(registry, ledger);
}

/** In the form of a histogram, from counts that threads share. */
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

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
