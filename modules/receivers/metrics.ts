/**
 * Metrics of the receivers. Every request is counted once by outcome, a refused one also by reason.
 */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { SpoorError } from "#pkg/errors/errors.ts";
import type { PushResult } from "#pkg/api/api.ts";
import type { InFlight } from "#pkg/listen/listen.ts";

/** The metrics of all protocols, on the registry that is passed in. */
export class ReceiverMetrics {
  #requests: Counter<"protocol" | "code">;
  #refused: Counter<"protocol" | "reason">;
  #spans: Counter<"protocol" | "result">;
  #wireBytes: Counter<"protocol">;
  #decodedBytes: Counter<"protocol">;
  #duration: Histogram<"protocol">;

  constructor(registry: Registry, inFlight: InFlight) {
    const registers = [registry];
    this.#requests = new Counter({
      name: "spoor_receivers_requests_total",
      help: "Requests by outcome: ok, or the code of the error",
      labelNames: ["protocol", "code"],
      registers,
    });
    this.#refused = new Counter({
      name: "spoor_receivers_refused_requests_total",
      help: "Requests refused, by reason",
      labelNames: ["protocol", "reason"],
      registers,
    });
    this.#spans = new Counter({
      name: "spoor_receivers_spans_total",
      help: "Spans of successful requests: accepted, or rejected one by one",
      labelNames: ["protocol", "result"],
      registers,
    });
    this.#wireBytes = new Counter({
      name: "spoor_receivers_wire_bytes_total",
      help: "Bytes of request bodies as they were sent",
      labelNames: ["protocol"],
      registers,
    });
    this.#decodedBytes = new Counter({
      name: "spoor_receivers_decoded_bytes_total",
      help: "Bytes of request bodies after decompression and conversion to protobuf",
      labelNames: ["protocol"],
      registers,
    });
    this.#duration = new Histogram({
      name: "spoor_receivers_request_duration_seconds",
      help: "Time from a request's headers to its response",
      labelNames: ["protocol"],
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
      registers,
    });
    // oxlint-disable-next-line no-new -- the registry keeps it
    new Gauge({
      name: "spoor_receivers_in_flight_requests",
      help: "Requests being received or stored now",
      registers,
      collect() {
        this.set(inFlight.requests);
      },
    });
    // oxlint-disable-next-line no-new -- the registry keeps it
    new Gauge({
      name: "spoor_receivers_in_flight_bytes",
      help: "Bytes of request bodies held now",
      registers,
      collect() {
        this.set(inFlight.bytes);
      },
    });
  }

  /** Returns the metrics of one protocol, with labels bound once. */
  forProtocol(protocol: string): ProtocolMetrics {
    const ok = this.#requests.labels(protocol, "ok");
    const accepted = this.#spans.labels(protocol, "accepted");
    const rejected = this.#spans.labels(protocol, "rejected");
    const wireBytes = this.#wireBytes.labels(protocol);
    const decodedBytes = this.#decodedBytes.labels(protocol);
    const duration = this.#duration.labels(protocol);
    return {
      received(wire, decoded) {
        wireBytes.inc(wire);
        decodedBytes.inc(decoded);
      },
      stored(result, seconds) {
        ok.inc();
        accepted.inc(result.acceptedSpans);
        rejected.inc(result.rejectedSpans);
        duration.observe(seconds);
      },
      refused: (error, seconds) => {
        this.#requests.labels(protocol, error.code).inc();
        this.#refused.labels(protocol, error.reason).inc();
        duration.observe(seconds);
      },
      malformed: (reason) => {
        this.#refused.labels(protocol, reason).inc();
      },
    };
  }
}

export interface ProtocolMetrics {
  /** Counts a received body: its size on the wire, and as protobuf. */
  received(wireBytes: number, decodedBytes: number): void;
  stored(result: PushResult, seconds: number): void;
  refused(error: SpoorError, seconds: number): void;
  /** Counts bytes that are not a request, or a request for something else. */
  malformed(reason: string): void;
}
