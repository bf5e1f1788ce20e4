/** Metrics of the frontend. Every request is counted once, by its route and status. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

export interface FrontendMetrics {
  requests: Counter<"route" | "status">;
  seconds: Histogram<"route">;
  partial: Counter<"route" | "reason">;
  inspectedSpans: Counter;
  inspectedBytes: Counter;
  answerBytes: Counter<"route">;
  limited: Counter<"reason">;
  cutTagAnswers: Counter<"reason">;
  slow: Counter<"route">;
  stalledStore: Counter;
  /** Registers the gauge of queries in flight, which calls `read` at each scrape. */
  inFlight: (read: () => { running: number; waiting: number }) => void;
}

/** Registers the metrics of the frontend. */
export function frontendMetrics(registry: Registry): FrontendMetrics {
  const registers = [registry];
  return {
    requests: new Counter({
      name: "spoor_frontend_requests_total",
      help: "Requests by route and HTTP status",
      labelNames: ["route", "status"],
      registers,
    }),
    seconds: new Histogram({
      name: "spoor_frontend_request_duration_seconds",
      help: "Time from a request's headers to its response",
      labelNames: ["route"],
      buckets: [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60],
      registers,
    }),
    partial: new Counter({
      name: "spoor_frontend_partial_answers_total",
      help: "Responses without what could not be read, counted once per reason",
      labelNames: ["route", "reason"],
      registers,
    }),
    inspectedSpans: new Counter({
      name: "spoor_frontend_inspected_spans_total",
      help: "Spans that searches and tag requests inspected",
      registers,
    }),
    inspectedBytes: new Counter({
      name: "spoor_frontend_inspected_bytes_total",
      help: "Bytes that searches and tag requests read from the store",
      registers,
    }),
    answerBytes: new Counter({
      name: "spoor_frontend_answer_bytes_total",
      help: "Bytes of responses before compression",
      labelNames: ["route"],
      registers,
    }),
    limited: new Counter({
      name: "spoor_frontend_limited_queries_total",
      help: "Queries that a limit refused, by limit",
      labelNames: ["reason"],
      registers,
    }),
    cutTagAnswers: new Counter({
      name: "spoor_frontend_cut_tag_answers_total",
      help: "Responses without the least frequent tags, by limit: bytes (of the response), memory",
      labelNames: ["reason"],
      registers,
    }),
    slow: new Counter({
      name: "spoor_frontend_slow_queries_total",
      help: "Queries that took longer than frontend.slow_query",
      labelNames: ["route"],
      registers,
    }),
    stalledStore: new Counter({
      name: "spoor_frontend_stalled_store_queries_total",
      help: "Queries that stopped waiting for the bucket and returned a partial result",
      registers,
    }),
    inFlight: (read) => inFlightGauge(registry, read),
  };
}

function inFlightGauge(registry: Registry, read: () => { running: number; waiting: number }): void {
  const gauge = new Gauge({
    name: "spoor_frontend_in_flight_queries",
    help: "Queries in flight now, by state: running, waiting",
    labelNames: ["state"],
    registers: [registry],
    collect() {
      for (const [state, count] of Object.entries(read())) this.set({ state }, count);
    },
  });
  gauge.reset();
}
