/**
 * The frontend: the HTTP API that Grafana and people use, over live and stored spans (README.md).
 */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { Registry } from "prom-client";
import type { LiveSpans, StoredSpans } from "#pkg/api/query.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { TenantLimits } from "#pkg/limits/limits.ts";
import type { Refusals } from "#pkg/limits/refusals.ts";
import type { Log } from "#pkg/log/log.ts";
import type { Tracer } from "#pkg/trace/trace.ts";
import { AnswerPool } from "./answer-pool.ts";
import type { FrontendConfig } from "./config.ts";
import { buildApp } from "./http.ts";
import { frontendMetrics } from "./metrics.ts";
import { Profiles } from "./profiles.ts";
import { Queries } from "./queries.ts";
import type { StatusPage, StatusPages } from "./status-page.ts";

export interface FrontendOptions {
  config: FrontendConfig;
  /** Whether requests must name their tenant in X-Scope-OrgID. */
  multiTenancy: boolean;
  live: LiveSpans;
  stored: StoredSpans;
  /** This program's own version. */
  version: string;
  /** Why this process cannot answer yet; undefined when it can. */
  readiness: () => string | undefined;
  /** The running configuration as YAML, without secrets. */
  configText: () => string;
  status: () => Promise<StatusPage>;
  /** Further pages for operators, at /status/<name>. */
  statusPages: StatusPages;
  /** What profiles are given for; empty: they are off. */
  adminToken: string;
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
    const { config, live, stored, registry, limits } = options;
    this.#options = options;
    const metrics = frontendMetrics(registry);
    const answers = this.#answers;
    const queries = new Queries({ spans: { live, stored }, config, metrics, answers, limits });
    const profiles = new Profiles(options.adminToken, options.clock);
    this.#app = buildApp({ ...options, queries, metrics, profiles });
    this.#server = createAdaptorServer({
      fetch: this.#app.fetch,
      serverOptions: {
        maxHeaderSize: headerBytesMax,
        headersTimeout: Math.min(config.headersTimeoutMs, config.requestTimeoutMs),
        requestTimeout: config.requestTimeoutMs,
        keepAliveTimeout: config.idleTimeoutMs,
      },
    }) as Server;
    this.#server.maxConnections = config.connectionsMax;
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
