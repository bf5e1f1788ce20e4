/**
 * The frontend: the HTTP API that Grafana and people use, over live and stored spans (README.md).
 */
import type { Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { Registry } from "prom-client";
import type { LiveSpans, StoredSpans } from "#pkg/questions/shards.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { endWithAnswer, unreadableOf } from "#pkg/listen/unreadable.ts";
import type { TenantLimits } from "#pkg/limits/limits.ts";
import type { Refusals } from "#pkg/limits/refusals.ts";
import type { Log } from "#pkg/log/log.ts";
import type { Tracer } from "#pkg/trace/trace.ts";
import type { Access } from "#pkg/tenant/access.ts";
import { AnswerPool } from "./answer-pool.ts";
import type { FrontendConfig } from "./config.ts";
import { buildApp } from "./http.ts";
import { frontendMetrics } from "./metrics.ts";
import { Profiles } from "./profiles.ts";
import { Queries } from "./queries.ts";
import { ParamsReader } from "./read-params.ts";
import type { StatusPages } from "./status-page.ts";

export interface FrontendOptions {
  config: FrontendConfig;
  access: Access;
  live: LiveSpans;
  stored: StoredSpans;
  /** This program's own version. */
  version: string;
  /** Why this process cannot answer yet; undefined when it can. */
  readiness: () => string | undefined;
  /** The running configuration as YAML, without secrets. */
  configText: () => string;
  status: StatusPages[string];
  /** Further pages, at /status/<name>. */
  statusPages: StatusPages;
  /** Below which all paths are, e.g. `/spoor`; "" if there is none. */
  pathPrefix: string;
  tracer: Tracer;
  limits: TenantLimits;
  refusals: Refusals;
  clock: Clock;
  log: Log;
  registry: Registry;
}

/** A query of 128 KiB, percent-encoded, and other headers. */
const headerBytesMax = 512 * 1024;

export class Frontend {
  readonly #options: FrontendOptions;
  readonly #answers = new AnswerPool();
  readonly #app: ReturnType<typeof buildApp>;
  readonly #server: Server;

  constructor(options: FrontendOptions) {
    const { config, live, stored, registry, limits, clock } = options;
    this.#options = options;
    const metrics = frontendMetrics(registry);
    const answers = this.#answers;
    const queries = new Queries({
      spans: { live, stored },
      config,
      metrics,
      answers,
      limits,
      clock,
    });
    const paramsReader = new ParamsReader((job, signal) => answers.parse(job, signal));
    const profiles = new Profiles(options.clock);
    this.#app = buildApp({ ...options, queries, paramsReader, metrics, profiles });
    this.#server = createAdaptorServer({
      fetch: this.#app.fetch,
      // HTTP/1.0 clients and health checks of load balancers send no Host; nothing here needs it.
      hostname: "localhost",
      serverOptions: {
        requireHostHeader: false,
        maxHeaderSize: headerBytesMax,
        headersTimeout: Math.min(config.headersTimeoutMs, config.requestTimeoutMs),
        requestTimeout: config.requestTimeoutMs,
        keepAliveTimeout: config.idleTimeoutMs,
      },
    }) as Server;
    this.#server.maxConnections = config.connectionsMax;
    this.#server.on("clientError", (error, socket) => this.#refuseBytes(error, socket as Socket));
  }

  /** Answers bytes that node:http could not read as a request. */
  #refuseBytes(error: NodeJS.ErrnoException, socket: Socket): void {
    const { httpStatus, reason, message } = unreadableOf(error, false);
    const peer = socket.remoteAddress;
    this.#options.refusals.note({ tenant: "", reason, message, source: "http", peer });
    if (!socket.writable || error.code === "ECONNRESET" || socket.bytesWritten > 0) {
      socket.destroy();
      return;
    }
    const contentType = "text/plain; charset=utf-8";
    endWithAnswer(socket, { httpStatus, contentType, body: `${message}\n` });
  }

  /** Listens. Throws Unavailable if the port is taken. */
  async start(): Promise<{ port: number }> {
    const { host, port } = this.#options.config;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onError = (cause: Error): void => {
      const message = `listen on ${host}:${port}: ${cause.message}`;
      reject(new SpoorError("Unavailable", message, { cause, reason: "listen" }));
    };
    this.#server.once("error", onError);
    this.#server.listen(port, host, resolve);
    await promise;
    this.#server.off("error", onError);
    return { port: (this.#server.address() as AddressInfo).port };
  }

  /** Answers a request that came by another way than the port; `tenants` are its X-Scope-OrgID. */
  async answer(request: Request, tenants: readonly string[]): Promise<Response> {
    const incoming = { headersDistinct: { "x-scope-orgid": tenants } };
    return await this.#app.fetch(request, { incoming });
  }

  /** Takes no more requests and resolves when those under way are answered. */
  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeIdleConnections();
    await promise;
    await this.#answers.close();
  }

  /** Closes connections without an answer: their queries are cancelled. */
  kill(): void {
    this.#server.closeAllConnections();
  }
}
