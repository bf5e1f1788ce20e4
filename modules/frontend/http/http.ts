/** The HTTP API: checks access and limits, runs the routes, turns errors into responses. */
import { type Context, Hono } from "hono";
import { errorTable, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import { pathOfTarget } from "#pkg/listen/listen.ts";
import { type Answer, bytesOf, errorAnswer, textAnswer, toResponse } from "./answers.ts";
import {
  credentialsOf,
  type Env,
  type Handler,
  type HttpParts,
  paramsOf,
  type QueryHandler,
  type Route,
} from "./http-context.ts";
import { isLimitRefusal } from "./queries.ts";
import { throwIfEnded } from "#pkg/query/query.ts";

/** Builds the API from its route table (`routesOf`). */
export function buildApp(parts: HttpParts, routes: readonly Route[]): Hono<Env> {
  const app = new Hono<Env>({ getPath: (request) => pathBelow(parts.pathPrefix, request.url) });
  for (const route of routes) {
    const answer = (handler: Handler) => (c: Context<Env>) =>
      answered(parts, c, { route: route.path, handler });
    const handler: Handler = (c) => {
      const viewer = parts.access.check(route.right, credentialsOf(c));
      return route.isQuery === true ? asQuery(parts, c, route.handle) : route.handle(c, { viewer });
    };
    if (route.method === "any") app.all(route.path, answer(handler));
    else {
      app.get(route.path, answer(handler));
      app.all(route.path, answer(methodNotAllowed));
    }
  }
  app.notFound((c) => answered(parts, c, { route: "unknown", handler: notFound }));
  return app;
}

/**
 * Returns the path of a request without the prefix. A proxy in front leaves the prefix in place.
 * Probes and scrapers reach the process directly, so `/ready` and `/metrics` work without it.
 */
function pathBelow(prefix: string, url: string): string {
  const path = pathOfTarget(url);
  if (prefix === "" || path === "/ready" || path === "/metrics") return path;
  if (path === prefix) return "/";
  return path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : "/no-such-path";
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
  metrics.answerBytes.inc({ route }, bytesOf(answer.body));
  log.debug({ method: c.req.method, route, status: answer.status, seconds }, "request");
  return await toResponse(answer, c.req.header("accept-encoding") ?? "");
}

/** Runs a query of the request's tenant within the limits of number and time. */
async function asQuery(parts: HttpParts, c: Context<Env>, handler: QueryHandler): Promise<Answer> {
  const { config, access, queries } = parts;
  const tenant = access.tenantOf(credentialsOf(c));
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
      const examples = (): string[] => [c.req.path, paramsOf(c).get("q") ?? ""];
      parts.refusals.noteError(error, { tenant, source: "query", examples });
    }
    throw thrown;
  } finally {
    noteIfSlow(parts, c, { tenant, seconds: (performance.now() - startedMs) / 1000 });
  }
}

const paramCharsMax = 2000;

/** Logs and counts a query that took `slow_query` or longer, with its parameters. */
function noteIfSlow(
  { config, log, metrics }: HttpParts,
  c: Context<Env>,
  { tenant, seconds }: { tenant: string; seconds: number },
): void {
  if (seconds * 1000 < config.slowQueryMs) return;
  const route = c.req.routePath;
  metrics.slow.inc({ route });
  const params = paramsOf(c).toString().slice(0, paramCharsMax);
  log.warn({ tenant, route, path: c.req.path, params, seconds }, "slow query");
}

function methodNotAllowed(): Answer {
  return { ...textAnswer("method not allowed\n", 405), headers: { Allow: "GET, HEAD" } };
}

function notFound(): Answer {
  return errorAnswer(new SpoorError("NotFound", "404 page not found"));
}
