/** Metrics of parts that keep plain counters of their own: the span log and the store. */
import { Gauge, type Registry } from "prom-client";
import type { CountedStore } from "#pkg/objstore/count.ts";
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

/** Exports the store's requests by kind. Requests of worker threads are not among them. */
export function observeStore(registry: Registry, store: CountedStore): void {
  for (const what of ["requests", "failures", "bytes"] as const) {
    const gauge = new Gauge({
      name: `spoor_store_${what}_total`,
      help: `Store ${what} of the main thread, by kind of request.`,
      registers: [registry],
      labelNames: ["kind"],
      collect() {
        for (const [kind, counts] of Object.entries(store.counts)) {
          this.set({ kind }, counts[what]);
        }
      },
    });
    gauge.reset();
  }
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
