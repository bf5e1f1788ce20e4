/** Parses and checks request parameters. All errors are InvalidInput with a text for people. */
import { planOf } from "#pkg/engine/engine.ts";
import type { QueryPlan, TimeRange } from "#pkg/api/api.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  type FieldExpr,
  notSupportedYet,
  parseNumber,
  type ParseOptions,
  parseQuery,
  type Query,
} from "#pkg/traceql/traceql.ts";
import { parseLogfmt } from "./logfmt.ts";
import { invalid } from "./params-errors.ts";
import { allOf, durationFilter, tagsFilter } from "./tag-search.ts";

const nanosPerSecond = 1_000_000_000n;
const uint32Max = 4_294_967_295;
/** Longest query text, in bytes. */
const queryBytesMax = 128 * 1024;
const defaultRangeMs = 15 * 60 * 1000;
const defaultLimit = 20;
const defaultSpansPerTrace = 3;

export interface SearchParams extends TimeRange {
  limit: number;
  spansPerTrace: number;
  /** The condition; undefined if every span satisfies it. */
  plan?: QueryPlan;
  /** Whether the search is by tags. Its response does not list the matching spans. */
  isByTags: boolean;
}

export interface SearchBounds {
  nowMs: number;
  limitMax: number;
  spansPerTraceMax: number;
}

/**
 * Parses a trace id of 1 to 32 hex digits. Returns 16 bytes, padded with zeros on the left. Throws
 * InvalidInput.
 */
export function parseTraceId(text: string): Uint8Array {
  const bad = /[^0-9a-fA-F]/u.exec(text);
  if (bad !== null) {
    const position = `invalid character '${bad[0]}' at position ${bad.index + 1}`;
    throw invalid(`trace IDs can only contain hex characters: ${position}`);
  }
  if (text.length > 32) throw invalid("trace IDs can't be larger than 128 bits");
  if (text.length === 0) throw invalid("trace ID is missing");
  return Buffer.from(text.padStart(32, "0"), "hex");
}

/**
 * Parses `start` and `end` of a look-up by trace id, in unix seconds. If only one of them is given,
 * the other side of the range is open. Returns undefined if neither is given.
 */
export function parseTraceRange(params: URLSearchParams): TimeRange | undefined {
  const mode = valueOf(params, "mode") ?? "all";
  if (mode !== "all") {
    const isKnown = ["ingesters", "blocks", "external"].includes(mode);
    throw invalid(isKnown ? `mode ${mode} is not supported` : `invalid value for mode ${mode}`);
  }
  if (valueOf(params, "q")?.trim()) throw invalid("q is not supported yet for a trace by its id");
  const [start, end] = givenTimes(params);
  if (start === undefined && end === undefined) return undefined;
  return rangeOf(start ?? 0, end ?? uint32Max);
}

/** Parses the parameters of /api/search. Throws RegexElsewhere as `options` describes. */
export function parseSearch(
  params: URLSearchParams,
  bounds: SearchBounds,
  options: ParseOptions = {},
): SearchParams {
  const limit = parseUint(params, "limit") ?? defaultLimit;
  if (limit === 0) throw invalid("invalid limit: must be a positive number");
  if (limit > bounds.limitMax)
    throw invalid(`limit ${limit} exceeds the maximum of ${bounds.limitMax}`);
  const spss = parseUint(params, "spss") ?? defaultSpansPerTrace;
  if (spss > bounds.spansPerTraceMax) {
    throw invalid(`spss ${spss} exceeds the maximum of ${bounds.spansPerTraceMax}`);
  }
  const range =
    parseSince(params, bounds.nowMs) ?? parseRange(params) ?? defaultRange(bounds.nowMs);
  const { isByTags, filter } = parseConditions(params, options);
  const plan = planOf(filter);
  const shown = spss === 0 ? bounds.spansPerTraceMax : spss;
  return { ...range, limit, spansPerTrace: isByTags ? 0 : shown, plan, isByTags };
}

/** If a request has none of `languageParams`, every parameter not listed here is a tag. */
const knownParams: readonly string[] = ["limit", "spss", "minDuration", "maxDuration"];
const languageParams: readonly string[] = ["q", "tags", "start", "end", "since"];

function parseConditions(
  params: URLSearchParams,
  options: ParseOptions,
): { filter: FieldExpr | undefined; isByTags: boolean } {
  const q = valueOf(params, "q");
  const tags = valueOf(params, "tags");
  if (q !== undefined && tags !== undefined)
    throw invalid("invalid request: can't specify tags and q");
  for (const text of [q, tags]) {
    if (text !== undefined && Buffer.byteLength(text) > queryBytesMax) {
      throw invalid(`query exceeds the maximum size of ${queryBytesMax} bytes`);
    }
  }
  const minDuration = valueOf(params, "minDuration");
  const maxDuration = valueOf(params, "maxDuration");
  const duration = durationFilter(minDuration, maxDuration);
  if (q !== undefined)
    return { filter: allOf([parseFilter(q, options), duration]), isByTags: false };
  const wanted = tags === undefined ? otherParams(params) : parseLogfmt(tags);
  const filter = allOf([tagsFilter(wanted, options), duration]);
  return { filter, isByTags: tags !== undefined || filter !== undefined };
}

/** Returns the tags of old clients, which send each tag as a parameter of its own. */
function otherParams(params: URLSearchParams): Map<string, string> {
  if (languageParams.some((name) => valueOf(params, name) !== undefined)) return new Map();
  const known = [...knownParams, ...languageParams];
  return new Map([...params].filter(([name]) => !known.includes(name) && name !== ""));
}

/**
 * Parses a TraceQL query that is one spanset filter and returns its condition; undefined if every
 * span satisfies it.
 */
function parseFilter(q: string, options: ParseOptions): FieldExpr | undefined {
  if (q.trim() === "") return undefined;
  const query = parsedQuery(q, options);
  const problem = notSupportedYet(query);
  if (problem !== undefined) throw invalid(problem);
  const [stage] = query.body.kind === "pipeline" ? query.body.stages : [];
  if (stage?.kind !== "filter") throw new SpoorError("Internal", "a supported query is one filter");
  const { expr } = stage;
  const isAll = expr.kind === "static" && expr.static.type === "bool" && expr.static.value;
  return isAll ? undefined : expr;
}

function parsedQuery(q: string, options: ParseOptions): Query {
  try {
    return parseQuery(q, options);
  } catch (error) {
    if (!(error instanceof SpoorError) || error.code !== "InvalidInput") throw error;
    const { message, reason } = error;
    throw new SpoorError("InvalidInput", `invalid TraceQL query: ${message}`, {
      cause: error,
      reason,
    });
  }
}

function parseRange(params: URLSearchParams): TimeRange | undefined {
  const [start, end] = givenTimes(params);
  if (start === undefined && end === undefined) return undefined;
  if (start === undefined || end === undefined) {
    throw invalid("only one of start and end provided: must provide both or neither");
  }
  return rangeOf(start, end);
}

/** Reads `start` and `end` in unix seconds. Two zeros count as absent, as in Tempo. */
function givenTimes(params: URLSearchParams): [start: number | undefined, end: number | undefined] {
  const start = parseUint(params, "start");
  const end = parseUint(params, "end");
  return start === 0 && end === 0 ? [undefined, undefined] : [start, end];
}

function rangeOf(start: number, end: number): TimeRange {
  if (end <= start) {
    throw invalid(`http parameter start must be before end. received start=${start} end=${end}`);
  }
  return { startNano: BigInt(start) * nanosPerSecond, endNano: BigInt(end) * nanosPerSecond };
}

/** Returns the last 15 minutes. */
export function defaultRange(nowMs: number): TimeRange {
  const nano = (ms: number): bigint => BigInt(Math.trunc(ms)) * 1_000_000n;
  return { startNano: nano(nowMs - defaultRangeMs), endNano: nano(nowMs) };
}

/** Parses `since`: the range ends now, and `start` and `end` are ignored. */
export function parseSince(params: URLSearchParams, nowMs: number): TimeRange | undefined {
  const text = valueOf(params, "since");
  if (text === undefined) return undefined;
  const parsed = parseNumber(text);
  const isDuration = "value" in parsed && parsed.value.type === "duration";
  if (!isDuration || BigInt(parsed.value.value) <= 0n) {
    throw invalid(`invalid since: must be a duration like 1h, not ${shownText(text)}`);
  }
  const endNano = BigInt(Math.trunc(nowMs)) * 1_000_000n;
  const sinceNano = BigInt(parsed.value.value);
  return { startNano: sinceNano < endNano ? endNano - sinceNano : 0n, endNano };
}

function shownText(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

function parseUint(params: URLSearchParams, name: string): number | undefined {
  const text = valueOf(params, name);
  if (text === undefined) return undefined;
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= uint32Max) return value;
  const unit = name === "start" || name === "end" ? "unix seconds" : "a number";
  throw invalid(`invalid ${name}: must be ${unit} from 0 to ${uint32Max}, not ${shownText(text)}`);
}

/** Returns the value of a parameter. An empty value counts as absent. */
export function valueOf(params: URLSearchParams, name: string): string | undefined {
  return params.get(name) || undefined;
}
