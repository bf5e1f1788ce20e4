/** Metrics of `spoor verify`. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export interface VerifyMetrics {
  registry: Registry;
  written: Counter;
  writeFailures: Counter<"reason">;
  checks: Counter<"kind" | "age">;
  failures: Counter<"kind" | "age" | "reason">;
  seconds: Histogram<"kind">;
}

/** Declares the metrics; `pending` returns the number of traces that wait for further checks. */
export function verifyMetrics(pending: () => number): VerifyMetrics {
  const registry = new Registry();
  const registers = [registry];
  // oxlint-disable-next-line no-new -- the registry keeps it
  new Gauge({
    name: "spoor_verify_pending_traces",
    help: "Written traces that will be checked again.",
    registers,
    collect() {
      this.set(pending());
    },
  });
  return {
    registry,
    written: new Counter({
      name: "spoor_verify_written_traces_total",
      help: "Traces that were written and acknowledged.",
      registers,
    }),
    writeFailures: new Counter({
      name: "spoor_verify_write_failures_total",
      help: "Traces that could not be written, by reason; they are not checked.",
      registers,
      labelNames: ["reason"],
    }),
    checks: new Counter({
      name: "spoor_verify_checks_total",
      help: "Checks of a written trace, by kind (trace, search) and the trace's age.",
      registers,
      labelNames: ["kind", "age"],
    }),
    failures: new Counter({
      name: "spoor_verify_failures_total",
      help: "Checks that failed, by kind, age and reason.",
      registers,
      labelNames: ["kind", "age", "reason"],
    }),
    seconds: new Histogram({
      name: "spoor_verify_query_duration_seconds",
      help: "Duration of a query, by kind of check.",
      registers,
      labelNames: ["kind"],
      buckets: [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60],
    }),
  };
}
