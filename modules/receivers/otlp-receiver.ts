/**
 * Receives OpenTelemetry traces over HTTP and gRPC and pushes them to a SpanSink. The response is
 * sent when the sink has made the spans durable. Until then they count as in flight.
 */
import type { Registry } from "prom-client";
import type { SpanSink } from "#pkg/api/api.ts";
import type { Refusals } from "#pkg/limits/limits.ts";
import type { GrpcMethod } from "#pkg/grpc/grpc.ts";
import {
  InFlight,
  type Listener,
  type RouteFacts,
  startAll,
  stopAll,
  Turns,
} from "#pkg/listen/listen.ts";
import type { Log } from "#pkg/log/log.ts";
import type { Access } from "#pkg/tenant/tenant.ts";
import type { OtlpReceiverConfig } from "./config.ts";
import { JsonPool } from "./json-pool.ts";
import { ReceiverMetrics } from "./metrics.ts";
import { OtlpGrpcServer } from "./otlp-grpc.ts";
import { OtlpHttpServer, otlpHttpRoutes } from "./otlp-http.ts";

/** Bodies inflated in Node's thread pool at the same time; the pool has few more threads. */
const inflateTasksMax = 2;

export interface OtlpReceiverOptions {
  config: OtlpReceiverConfig;
  sink: SpanSink;
  access: Access;
  log: Log;
  refusals: Refusals;
  registry: Registry;
}

export class OtlpReceiver {
  #log: Log;
  #inFlight: InFlight;
  #jsonPool: JsonPool;
  readonly #listeners: readonly Listener[];
  /** The routes of the HTTP port and the methods of the gRPC port. */
  readonly routes: readonly RouteFacts[] = otlpHttpRoutes;
  readonly methods: readonly GrpcMethod[];

  constructor({ config, sink, access, log, refusals, registry }: OtlpReceiverOptions) {
    this.#log = log;
    this.#inFlight = new InFlight(
      config.requestsMax,
      config.bytesMax,
      config.connectionRequestsMax,
    );
    this.#jsonPool = new JsonPool(config.jsonThreads);
    const metrics = new ReceiverMetrics(registry, this.#inFlight);
    const inFlight = this.#inFlight;
    const jsonPool = this.#jsonPool;
    const turns = new Turns(inflateTasksMax);
    const parts = { config, sink, access, log, refusals, metrics, inFlight, jsonPool, turns };
    const grpc = new OtlpGrpcServer(parts);
    this.methods = grpc.methods;
    this.#listeners = [new OtlpHttpServer(parts), grpc];
  }

  /**
   * Listens on both ports. Throws Unavailable (`listen`) if one is in use; then neither stays open.
   */
  async start(): Promise<{ httpPort: number; grpcPort: number }> {
    const [httpPort, grpcPort] = await startAll(this.#listeners);
    this.#log.debug({ httpPort, grpcPort }, "receiving OTLP");
    return { httpPort, grpcPort };
  }

  /**
   * Accepts no more requests and waits until those in flight are answered, at most `deadlineMs`.
   * Then closes the remaining connections without a response: clients retry those requests.
   */
  async stop(deadlineMs: number): Promise<void> {
    const isAnswered = await stopAll(this.#listeners, deadlineMs, this.#inFlight.idle());
    if (!isAnswered) {
      this.#log.warn({ requests: this.#inFlight.requests }, "closed with requests in flight");
    }
    await this.#jsonPool.close();
  }
}
