/** The table of all routes of the HTTP API. */
import type { Context } from "hono";
import { SpoorError } from "#pkg/errors/errors.ts";
import { type Answer, jsonAnswer, textAnswer } from "./answers.ts";
import {
  type Env,
  type HttpParts,
  paramsOf,
  type PlainRoute,
  type QueryRoute,
  type Question,
  type Route,
} from "./http-context.ts";
import { type SearchParams, parseTraceId, parseTraceRange } from "./params.ts";
import {
  formatStatusPage,
  statusJson,
  type StatusPages,
} from "#modules/frontend/status/status-page.ts";
import { type TagAsk, tagNames, tagValues } from "./tag-routes.ts";

/**
 * The version of Tempo whose API is served here. Grafana up to 12.2 enables features by it.
 */
const tempoVersion = "2.7.0";

const json = ["application/json"];
const text = ["text/plain"];
const page = ["text/html", "application/json"];
const traceTypes = ["application/json", "application/protobuf"];
const traceParams = ["start", "end", "mode", "q"];
const rangeParams = ["start", "end", "since"];
const searchParamNames = [
  "q",
  "tags",
  "minDuration",
  "maxDuration",
  "limit",
  "spss",
  ...rangeParams,
];
const tagParams = ["scope", "q", "limit", ...rangeParams];

/** Returns every route of the API, with the right that it needs. */
export function routesOf(parts: HttpParts): Route[] {
  return [...traceRoutes(parts), ...tagRoutes(parts), ...plainRoutes(parts), ...pageRoutes(parts)];
}

function query(facts: Omit<QueryRoute, "isQuery" | "method" | "right">): Route {
  return { ...facts, method: "any", right: "read", isQuery: true };
}

function traceRoutes(parts: HttpParts): Route[] {
  const byId = (path: string, version: "v1" | "v2"): Route =>
    query({
      path,
      params: traceParams,
      answers: traceTypes,
      handle: (c, question) => traceById(parts, c, { ...question, version }),
    });
  return [
    byId("/api/traces/:id", "v1"),
    byId("/api/v2/traces/:id", "v2"),
    query({
      path: "/api/search",
      params: searchParamNames,
      answers: json,
      handle: (c, question) => search(parts, c, question),
    }),
    query({
      path: "/api/search/explain",
      params: searchParamNames,
      answers: json,
      handle: (c, question) => explain(parts, c, question),
    }),
  ];
}

function tagRoutes(parts: HttpParts): Route[] {
  const ofVersion = (version: "v1" | "v2", path: string): Route[] => [
    query({
      path: `${path}/search/tags`,
      params: tagParams,
      answers: json,
      handle: (c, question) => tagNames(tagAsk(parts, c, question), version),
    }),
    // The name may contain slashes.
    query({
      path: `${path}/search/tag/*`,
      params: tagParams,
      answers: json,
      handle: (c, question) => {
        const name = tagNameIn(c.req.path, `${path}/search/tag/`);
        return tagValues(tagAsk(parts, c, question), version, name);
      },
    }),
  ];
  return [...ofVersion("v1", "/api"), ...ofVersion("v2", "/api/v2")];
}

function plainRoutes(parts: HttpParts): Route[] {
  const get = (
    facts: Omit<PlainRoute, "method" | "params"> & { params?: readonly string[] },
  ): Route => ({ params: [], ...facts, method: "get" });
  const info = (): Answer => jsonAnswer(buildInfo(parts.version));
  const config = (): Answer => textAnswer(parts.configText());
  return [
    {
      path: "/api/echo",
      method: "any",
      right: "open",
      params: [],
      answers: text,
      handle: () => textAnswer("echo\n"),
    },
    get({ path: "/api/status/buildinfo", right: "open", answers: json, handle: info }),
    get({ path: "/status/version", right: "open", answers: json, handle: info }),
    get({
      path: "/ready",
      right: "open",
      answers: text,
      handle: () => {
        const reason = parts.readiness();
        return reason === undefined ? textAnswer("ready\n") : textAnswer(`${reason}\n`, 503);
      },
    }),
    get({
      path: "/metrics",
      right: "operate",
      answers: text,
      handle: async () => ({
        status: 200,
        contentType: parts.registry.contentType,
        body: await parts.registry.metrics(),
      }),
    }),
    get({ path: "/config", right: "operate", answers: text, handle: config }),
    get({ path: "/status/config", right: "operate", answers: text, handle: config }),
    ...(["cpu", "heap"] as const).map((kind) =>
      get({
        path: `/admin/profile/${kind}`,
        right: "admin",
        params: ["seconds"],
        answers: json,
        handle: async (c) =>
          jsonAnswer(await parts.profiles.record(kind, paramsOf(c).get("seconds"))),
      }),
    ),
  ];
}

function pageRoutes(parts: HttpParts): Route[] {
  const pages: [path: string, make: StatusPages[string]][] = [
    ["/", parts.status],
    ["/status", parts.status],
    ...Object.entries(parts.statusPages).map(([name, make]): [string, StatusPages[string]] => [
      `/status/${name}`,
      make,
    ]),
  ];
  return pages.map(([path, make]) => ({
    path,
    method: "get",
    right: "read",
    params: ["format"],
    answers: page,
    handle: async (c, { viewer }) => {
      const shown = await make(viewer);
      const { clock, pathPrefix, statusPages } = parts;
      if (wantsJson(c)) return statusJson(shown, clock.nowMs());
      const others = Object.keys(statusPages);
      return formatStatusPage(shown, { others, pathPrefix, nowMs: clock.nowMs() });
    },
  }));
}

function wantsJson(c: Context<Env>): boolean {
  const format = paramsOf(c).get("format");
  if (format !== null) return format === "json";
  return (c.req.header("accept") ?? "").includes("application/json");
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
  return await parts.queries.search({ ...question, ...(await searchParams(parts, c, question)) });
}

async function explain(parts: HttpParts, c: Context<Env>, question: Question): Promise<Answer> {
  return await parts.queries.explain({ ...question, ...(await searchParams(parts, c, question)) });
}

async function searchParams(
  { config, clock, paramsReader }: HttpParts,
  c: Context<Env>,
  { signal }: Question,
): Promise<SearchParams> {
  const bounds = {
    nowMs: clock.nowMs(),
    limitMax: config.searchLimitMax,
    spansPerTraceMax: config.spansPerTraceMax,
  };
  const job = { kind: "search" as const, params: paramsOf(c).toString(), bounds };
  return await paramsReader.read(job, signal);
}

function tagAsk(
  { queries, paramsReader, config, clock }: HttpParts,
  c: Context<Env>,
  question: Question,
): TagAsk {
  const bytesMax = config.tagAnswerBytesMax;
  const params = paramsOf(c);
  return { ...question, queries, paramsReader, params, nowMs: clock.nowMs(), bytesMax };
}

/** Returns the path between the prefix and `/values`, still encoded. Throws NotFound. */
function tagNameIn(path: string, prefix: string): string {
  const end = "/values";
  if (path.endsWith(end) && path.length > prefix.length + end.length) {
    return path.slice(prefix.length, -end.length);
  }
  throw new SpoorError("NotFound", "404 page not found");
}

/** Formats the build info. Clients of Tempo read `version`; `spoorVersion` is this program's. */
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
