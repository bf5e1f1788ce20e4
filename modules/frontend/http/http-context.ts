/** Shared by the routes of the API: dependencies, types of the route table, request helpers. */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { Registry } from "prom-client";
import type { Clock } from "#pkg/clock/clock.ts";
import type { Refusals } from "#pkg/limits/limits.ts";
import type { Log } from "#pkg/log/log.ts";
import type { Tracer } from "#pkg/selftrace/selftrace.ts";
import type { RouteFacts } from "#pkg/listen/listen.ts";
import type { Access, Credentials, Viewer } from "#pkg/tenant/tenant.ts";
import type { Answer } from "./answers.ts";
import type { FrontendConfig } from "#modules/frontend/config.ts";
import type { FrontendMetrics } from "#modules/frontend/metrics.ts";
import type { Profiles } from "#modules/frontend/status/profiles.ts";
import type { Queries } from "./queries.ts";
import type { ParamsReader } from "./read-params.ts";
import type { StatusPages } from "#modules/frontend/status/status-page.ts";

export interface HttpParts {
  config: FrontendConfig;
  queries: Queries;
  paramsReader: ParamsReader;
  metrics: FrontendMetrics;
  profiles: Profiles;
  access: Access;
  /** Prefix of all paths, e.g. `/spoor`; "" if there is none. */
  pathPrefix: string;
  tracer: Tracer;
  registry: Registry;
  refusals: Refusals;
  clock: Clock;
  log: Log;
  /** Returns why this process is not ready; undefined if it is. */
  readiness: () => string | undefined;
  /** Returns the running configuration as YAML, without secrets. */
  configText: () => string;
  status: StatusPages[string];
  /** Further pages, at /status/<name>. */
  statusPages: StatusPages;
  /** This program's own version. */
  version: string;
}

export interface Env {
  Bindings: HttpBindings;
}

export type Handler = (c: Context<Env>) => Promise<Answer> | Answer;

export interface Question {
  tenant: string;
  /** Aborts when the client disconnects or `query_timeout` has passed. */
  signal: AbortSignal;
}

export type QueryHandler = (c: Context<Env>, question: Question) => Promise<Answer>;

/** Queries accept any method, with their parameters in the URL, as in Tempo. */
interface ApiRouteFacts extends RouteFacts {
  method: "get" | "any";
}

export interface PlainRoute extends ApiRouteFacts {
  isQuery?: false;
  handle: (c: Context<Env>, who: { viewer: Viewer }) => Promise<Answer> | Answer;
}

/** A query. It waits for its turn in the tenant's queue and is bounded by `query_timeout`. */
export interface QueryRoute extends ApiRouteFacts {
  isQuery: true;
  handle: QueryHandler;
}

export type Route = PlainRoute | QueryRoute;

/** Returns the parameters of a request's URL. */
export function paramsOf(c: Context<Env>): URLSearchParams {
  const { url } = c.req;
  const at = url.indexOf("?");
  return new URLSearchParams(at < 0 ? "" : url.slice(at + 1));
}

/** Returns the credentials that a request carries. */
export function credentialsOf(c: Context<Env>): Credentials {
  return {
    authorization: c.req.header("authorization"),
    tenants: c.env.incoming.headersDistinct["x-scope-orgid"] ?? [],
  };
}
