/**
 * Receives OpenTelemetry traces over HTTP and gRPC and hands them to a SpanSink. An answer is sent
 * when the sink has made the spans durable; until then they are held here and counted.
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

/** Bodies that are inflated in Node's thread pool at a time: it has threads for little more. */
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
  /** What is served on the port of HTTP, and on that of gRPC. */
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

  /** Listens on both ports. Throws Unavailable `listen` if one is taken, and then holds neither. */
  async start(): Promise<{ httpPort: number; grpcPort: number }> {
    const [httpPort, grpcPort] = await startAll(this.#listeners);
    this.#log.debug({ httpPort, grpcPort }, "receiving OTLP");
    return { httpPort, grpcPort };
  }

  /**
   * Accepts nothing new and waits until what is in flight is answered, but not longer than
   * `deadlineMs`; then closes connections without an answer: clients send those spans again.
   */
  async stop(deadlineMs: number): Promise<void> {
    const isAnswered = await stopAll(this.#listeners, deadlineMs, this.#inFlight.idle());
    if (!isAnswered) {
      this.#log.warn({ requests: this.#inFlight.requests }, "closed with requests in flight");
    }
    await this.#jsonPool.close();
  }
}
