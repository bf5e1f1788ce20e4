/**
 * The frontend: the HTTP API that Grafana and people use, over live and stored spans (README.md).
 */
import { getRequestListener } from "@hono/node-server";
import type { Registry } from "prom-client";
import type { LiveSpans, StoredSpans } from "#pkg/questions/questions.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { HttpListener, type RouteFacts } from "#pkg/listen/listen.ts";
import type { Refusals, TenantLimits } from "#pkg/limits/limits.ts";
import type { Log } from "#pkg/log/log.ts";
import type { Tracer } from "#pkg/selftrace/selftrace.ts";
import type { Access } from "#pkg/tenant/tenant.ts";
import { AnswerPool } from "#modules/frontend/http/answer-pool.ts";
import type { FrontendConfig } from "./config.ts";
import { buildApp } from "#modules/frontend/http/http.ts";
import { frontendMetrics } from "./metrics.ts";
import { Profiles } from "#modules/frontend/status/profiles.ts";
import { Queries } from "#modules/frontend/http/queries.ts";
import { ParamsReader } from "#modules/frontend/http/read-params.ts";
import { routesOf } from "#modules/frontend/http/routes.ts";
import type { StatusPages } from "#modules/frontend/status/status-page.ts";

export interface FrontendOptions {
  config: FrontendConfig;
  access: Access;
  live: LiveSpans;
  stored: StoredSpans;
  /** This program's own version. */
  version: string;
  /** Returns why this process is not ready; undefined if it is. */
  readiness: () => string | undefined;
  /** Returns the running configuration as YAML, without secrets. */
  configText: () => string;
  status: StatusPages[string];
  /** Further pages, at /status/<name>. */
  statusPages: StatusPages;
  /** Prefix of all paths, e.g. `/spoor`; "" if there is none. */
  pathPrefix: string;
  tracer: Tracer;
  limits: TenantLimits;
  refusals: Refusals;
  clock: Clock;
  log: Log;
  registry: Registry;
}

/** Room for a query of 128 KiB, percent-encoded (3 bytes per byte), and other headers. */
const headerBytesMax = 512 * 1024;

export class Frontend {
  readonly #answers = new AnswerPool();
  readonly #app: ReturnType<typeof buildApp>;
  readonly #listener: HttpListener;
  /** The routes of this port. */
  readonly routes: readonly RouteFacts[];

  constructor(options: FrontendOptions) {
    const { config, live, stored, registry, limits, clock } = options;
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
    const parts = { ...options, queries, paramsReader, metrics, profiles };
    const routes = routesOf(parts);
    this.routes = routes;
    this.#app = buildApp(parts, routes);
    this.#listener = new HttpListener({
      ...config,
      address: { host: config.host, port: config.port },
      headerBytesMax,
      // The URL of a request without a Host needs some name.
      handle: getRequestListener(this.#app.fetch, { hostname: "localhost" }),
      noteRefused: (refused) => {
        options.refusals.note({ tenant: "", source: "http", ...refused });
      },
      noteUnanswered: (thrown) => {
        options.log.error({ error: String(thrown) }, "request could not be answered");
      },
      answerUnreadable: ({ httpStatus, message }) => ({
        httpStatus,
        contentType: "text/plain; charset=utf-8",
        body: `${message}\n`,
      }),
    });
  }

  /** Listens and resolves with the port. Throws Unavailable if the port is in use. */
  async start(): Promise<{ port: number }> {
    return { port: await this.#listener.start() };
  }

  /**
   * Answers a request that did not arrive on the port.
   *
   * @param tenants values of X-Scope-OrgID.
   */
  async answer(request: Request, tenants: readonly string[]): Promise<Response> {
    const incoming = { headersDistinct: { "x-scope-orgid": tenants } };
    return await this.#app.fetch(request, { incoming });
  }

  /** Accepts no more requests; resolves when those in flight are answered. */
  async stop(): Promise<void> {
    await this.#listener.stop();
    await this.#answers.close();
  }

  /** Closes connections without a response; their queries are cancelled. */
  kill(): void {
    this.#listener.kill();
  }
}
export type { StatusPage, StatusPages, StatusTable } from "#modules/frontend/status/status-page.ts";
