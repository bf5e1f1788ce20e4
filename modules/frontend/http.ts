/** The routes of the HTTP API: parse, ask, answer. */
import type { HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import type { Registry } from "prom-client";
import type { Clock } from "#pkg/clock/clock.ts";
import { errorTable, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Refusals } from "#pkg/limits/refusals.ts";
import type { Log } from "#pkg/log/log.ts";
import type { Tracer } from "#pkg/trace/trace.ts";
import { resolveTenant } from "#pkg/tenant/tenant.ts";
import { type Answer, errorAnswer, jsonAnswer, textAnswer, toResponse } from "./answers.ts";
import type { FrontendConfig } from "./config.ts";
import type { FrontendMetrics } from "./metrics.ts";
import { isLimitRefusal, type Queries } from "./queries.ts";
import { parseSearch, type SearchParams, parseTraceId, parseTraceRange } from "./params.ts";
import { formatStatusPage, type StatusPage, type StatusPages } from "./status-page.ts";
import type { Profiles } from "./profiles.ts";
import { type TagAsk, tagNames, tagValues } from "./tag-routes.ts";
import { throwIfEnded } from "./view.ts";

export interface HttpParts {
  config: FrontendConfig;
  queries: Queries;
  /** Whether requests must name their tenant in X-Scope-OrgID. */
  multiTenancy: boolean;
  metrics: FrontendMetrics;
  profiles: Profiles;
  tracer: Tracer;
  registry: Registry;
  refusals: Refusals;
  clock: Clock;
  log: Log;
  /** Why this process cannot answer yet; undefined when it can. */
  readiness: () => string | undefined;
  /** The running configuration as YAML, without secrets. */
  configText: () => string;
  status: () => Promise<StatusPage>;
  /** Further pages for operators, at /status/<name>. */
  statusPages: StatusPages;
  /** This program's own version. */
  version: string;
}

interface Env {
  Bindings: HttpBindings;
}

type Handler = (c: Context<Env>) => Promise<Answer> | Answer;

/**
 * What clients of Tempo take for its version: Grafana up to 12.2 turns features on by it, and this
 * is the API that is served here.
 */
const tempoVersion = "2.7.0";

export function buildApp(parts: HttpParts): Hono<Env> {
  const app = new Hono<Env>({ getPath: pathOf });
  const get = (path: string, handler: Handler): void => {
    app.get(path, (c) => answered(parts, c, { route: path, handler }));
    app.all(path, (c) => answered(parts, c, { route: path, handler: methodNotAllowed }));
  };
  // As in Tempo: any method, parameters only in the URL.
  const query = (path: string, handler: QueryHandler): void => {
    const asked: Handler = (c) => asQuery(parts, c, handler);
    app.all(path, (c) => answered(parts, c, { route: path, handler: asked }));
  };
  query("/api/traces/:id", (c, question) => traceById(parts, c, { ...question, version: "v1" }));
  query("/api/v2/traces/:id", (c, question) => traceById(parts, c, { ...question, version: "v2" }));
  query("/api/search", (c, question) => search(parts, c, question));
  query("/api/search/explain", (c, question) => explain(parts, c, question));
  for (const [version, path] of [
    ["v1", "/api"],
    ["v2", "/api/v2"],
  ] as const) {
    query(`${path}/search/tags`, (c, question) => tagNames(tagAsk(parts, c, question), version));
    // The name may have slashes.
    query(`${path}/search/tag/*`, (c, question) => {
      const name = tagNameIn(c.req.path, `${path}/search/tag/`);
      return tagValues(tagAsk(parts, c, question), version, name);
    });
  }
  app.all("/api/echo", (c) =>
    answered(parts, c, { route: "/api/echo", handler: () => textAnswer("echo\n") }),
  );
  get("/api/status/buildinfo", () => jsonAnswer(buildInfo(parts.version)));
  get("/ready", () => {
    const reason = parts.readiness();
    return reason === undefined ? textAnswer("ready\n") : textAnswer(`${reason}\n`, 503);
  });
  get("/metrics", async () => ({
    status: 200,
    contentType: parts.registry.contentType,
    body: await parts.registry.metrics(),
  }));
  get("/config", () => textAnswer(parts.configText()));
  const shown = async (page: StatusPage | Promise<StatusPage>): Promise<Answer> =>
    formatStatusPage(await page, Object.keys(parts.statusPages), parts.clock.nowMs());
  get("/", () => shown(parts.status()));
  get("/status", () => shown(parts.status()));
  for (const [name, page] of Object.entries(parts.statusPages)) {
    get(`/status/${name}`, () => shown(page()));
  }
  for (const kind of ["cpu", "heap"] as const) {
    get(`/admin/profile/${kind}`, async (c) => {
      const authorization = c.req.header("authorization");
      const seconds = paramsOf(c).get("seconds");
      return jsonAnswer(await parts.profiles.record(kind, { authorization, seconds }));
    });
  }
  get("/status/config", () => textAnswer(parts.configText()));
  get("/status/version", () => jsonAnswer(buildInfo(parts.version)));
  app.notFound((c) => answered(parts, c, { route: "unknown", handler: notFound }));
  return app;
}

/** The path with repeated slashes as one: older Grafana sends `//api/...`. */
function pathOf(request: Request): string {
  const { url } = request;
  const start = url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return "/";
  const end = url.slice(start).search(/[?#]/);
  const path = end < 0 ? url.slice(start) : url.slice(start, start + end);
  return path.replaceAll(/\/{2,}/g, "/");
}

async function answered(
  parts: HttpParts,
  c: Context<Env>,
  { route, handler }: { route: string; handler: Handler },
): Promise<Response> {
  const { metrics, log } = parts;
  const startedMs = performance.now();
  let answer: Answer;
  try {
    answer = await handler(c);
  } catch (thrown) {
    const error = toSpoorError(thrown);
    const { logLevel } = errorTable[error.code];
    log[logLevel](
      { route, code: error.code, reason: error.reason, error: error.message },
      "request failed",
    );
    answer = errorAnswer(error);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  metrics.requests.inc({ route, status: String(answer.status) });
  metrics.seconds.observe({ route }, seconds);
  metrics.answerBytes.inc({ route }, Buffer.byteLength(answer.body));
  log.debug({ method: c.req.method, route, status: answer.status, seconds }, "request");
  return await toResponse(answer, c.req.header("accept-encoding") ?? "");
}

interface Question {
  tenant: string;
  /** Aborts when the client has gone or the time is over. */
  signal: AbortSignal;
}

type QueryHandler = (c: Context<Env>, question: Question) => Promise<Answer>;

/** Bounds the number of queries and their time, and finds the tenant. */
async function asQuery(parts: HttpParts, c: Context<Env>, handler: QueryHandler): Promise<Answer> {
  const { config, multiTenancy, queries } = parts;
  const headers = c.env.incoming.headersDistinct["x-scope-orgid"] ?? [];
  const tenant = resolveTenant(headers, multiTenancy);
  const signal = AbortSignal.any([c.req.raw.signal, AbortSignal.timeout(config.queryTimeoutMs)]);
  const startedMs = performance.now();
  try {
    return await queries.admitted({ tenant, signal }, () =>
      parts.tracer.run(c.req.routePath, { tenant }, () => handler(c, { tenant, signal })),
    );
  } catch (thrown) {
    throwIfEnded(signal);
    const error = toSpoorError(thrown);
    if (isLimitRefusal(error)) {
      const examples = (): string[] => [pathOf(c.req.raw), paramsOf(c).get("q") ?? ""];
      parts.refusals.noteError(error, { tenant, source: "query", examples });
    }
    throw thrown;
  } finally {
    noteIfSlow(parts, c, { tenant, seconds: (performance.now() - startedMs) / 1000 });
  }
}

const paramCharsMax = 2000;

/** A line for a query that took long, with what it asked for. */
function noteIfSlow(
  { config, log, metrics }: HttpParts,
  c: Context<Env>,
  { tenant, seconds }: { tenant: string; seconds: number },
): void {
  if (seconds * 1000 < config.slowQueryMs) return;
  const route = c.req.routePath;
  metrics.slow.inc({ route });
  const params = paramsOf(c).toString().slice(0, paramCharsMax);
  log.warn({ tenant, route, path: pathOf(c.req.raw), params, seconds }, "slow query");
}

async function traceById(
  { queries }: HttpParts,
  c: Context<Env>,
  { tenant, signal, version }: Question & { version: "v1" | "v2" },
): Promise<Answer> {
  const traceId = parseTraceId(c.req.param("id") ?? "");
  const range = parseTraceRange(paramsOf(c));
  const accept = c.req.header("accept") ?? "";
  const isProtobuf = accept.includes("application/protobuf");
  const format = `${version}-${isProtobuf ? "protobuf" : "json"}` as const;
  return await queries.traceById({ tenant, traceId, range, signal }, format);
}

async function search(parts: HttpParts, c: Context<Env>, question: Question): Promise<Answer> {
  return await parts.queries.search({ ...question, ...searchParams(parts, c) });
}

async function explain(parts: HttpParts, c: Context<Env>, question: Question): Promise<Answer> {
  return await parts.queries.explain({ ...question, ...searchParams(parts, c) });
}

function searchParams({ config, clock }: HttpParts, c: Context<Env>): SearchParams {
  return parseSearch(paramsOf(c), {
    nowMs: clock.nowMs(),
    limitMax: config.searchLimitMax,
    spansPerTraceMax: config.spansPerTraceMax,
  });
}

function tagAsk(
  { queries, config, clock }: HttpParts,
  c: Context<Env>,
  question: Question,
): TagAsk {
  const bytesMax = config.tagAnswerBytesMax;
  return { ...question, queries, params: paramsOf(c), nowMs: clock.nowMs(), bytesMax };
}

/** What stands between the prefix and `/values`, as it was sent. */
function tagNameIn(path: string, prefix: string): string {
  const end = "/values";
  if (path.endsWith(end) && path.length > prefix.length + end.length) {
    return path.slice(prefix.length, -end.length);
  }
  throw new SpoorError("NotFound", "404 page not found");
}

function paramsOf(c: Context<Env>): URLSearchParams {
  const { url } = c.req;
  const at = url.indexOf("?");
  return new URLSearchParams(at < 0 ? "" : url.slice(at + 1));
}

function methodNotAllowed(): Answer {
  return { ...textAnswer("method not allowed\n", 405), headers: { Allow: "GET, HEAD" } };
}

function notFound(): Answer {
  return errorAnswer(new SpoorError("NotFound", "404 page not found"));
}

/** `version` is what clients of Tempo look at; `spoorVersion` is what runs here. */
function buildInfo(version: string): string {
  return JSON.stringify({
    version: tempoVersion,
    revision: "",
    branch: "",
    buildUser: "",
    buildDate: "",
    goVersion: "",
    spoorVersion: version,
  });
}
