/**
 * `grpc.health.v1.Health`: whether a port accepts calls
 * (https://grpc.io/docs/guides/health-checking/).
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  Health as HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
  type HealthCheckResponseSchema,
} from "#pkg/pb/grpc/health/v1/health_pb.ts";
import { type GrpcCall, type GrpcMethod, streamingMethod, unaryMethod } from "./methods.ts";

type Answer = MessageInitShape<typeof HealthCheckResponseSchema>;

/** A request is one short string. */
const requestBytesMax = 4096;
const watchersMaxDefault = 1000;

/** The health of the services of one port: SERVING until the port stops. */
export class Health {
  readonly #services: ReadonlySet<string>;
  readonly #watchersMax: number;
  /** Wakes each open `Watch` call. */
  readonly #watchers = new Set<() => void>();
  #isStopping = false;

  /** @param watchersMax open `Watch` calls; further ones are refused (`health_watchers`). */
  constructor(services: readonly string[], watchersMax: number = watchersMaxDefault) {
    this.#services = new Set(["", ...services]);
    this.#watchersMax = watchersMax;
  }

  /** Returns the methods for the port's table. They are open, for load balancers. */
  methods(): GrpcMethod[] {
    const declared = { right: "open", requestBytesMax } as const;
    const { check, watch } = HealthService.method;
    return [
      unaryMethod(check, declared, async ({ service }) => this.#check(service)),
      streamingMethod(watch, declared, ({ service }, call) => this.#watch(service, call)),
    ];
  }

  /** Reports NOT_SERVING from now on and ends open `Watch` calls. */
  stop(): void {
    this.#isStopping = true;
    for (const wake of this.#watchers) wake();
  }

  #check(service: string): Answer {
    if (!this.#services.has(service)) {
      throw new SpoorError("NotFound", `unknown service ${service}`, { reason: "not_found" });
    }
    return { status: this.#statusOf(service) };
  }

  /** Sends the status at once, and again when the port stops. */
  async *#watch(service: string, { signal }: GrpcCall): AsyncGenerator<Answer> {
    if (this.#watchers.size >= this.#watchersMax) {
      const message = `${this.#watchersMax} calls already watch: close some and retry`;
      throw new SpoorError("LimitExceeded", message, { reason: "health_watchers" });
    }
    const { promise: woken, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#watchers.add(wake);
    signal.addEventListener("abort", wake, { once: true });
    if (signal.aborted) wake();
    try {
      yield { status: this.#statusOf(service) };
      if (!this.#isStopping) {
        await woken;
        if (signal.aborted) return;
        yield { status: this.#statusOf(service) };
      }
      throw new SpoorError("Unavailable", "the server is stopping", { reason: "stopping" });
    } finally {
      signal.removeEventListener("abort", wake);
      this.#watchers.delete(wake);
    }
  }

  #statusOf(service: string): ServingStatus {
    if (!this.#services.has(service)) return ServingStatus.SERVICE_UNKNOWN;
    return this.#isStopping ? ServingStatus.NOT_SERVING : ServingStatus.SERVING;
  }
}
