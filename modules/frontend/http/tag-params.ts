/** Parses and checks the parameters of the tag endpoints. All errors are InvalidInput. */
import type { TagScope, TimeRange } from "#pkg/api/api.ts";
import { spanPart } from "#pkg/engine/engine.ts";
import { type FieldExpr, parseLeniently, type ParseOptions } from "#pkg/traceql/traceql.ts";
import { defaultRange, parseSince, valueOf } from "./params.ts";
import { invalid } from "./params-errors.ts";
import { tagScopes } from "./tag-names.ts";

export interface TagParams extends TimeRange {
  /** Most names per scope, or most values; undefined: bounded by the response's size only. */
  limit: number | undefined;
  /** The part of `q` that single spans decide; undefined if there is none. */
  filter: FieldExpr | undefined;
}

export interface TagScopes {
  scopes: readonly TagScope[];
  hasIntrinsics: boolean;
}

/**
 * Parses the parameters of a tag endpoint. Unknown or unfinished parts of `q` are ignored. Throws
 * InvalidInput for a bad range, RegexElsewhere as `options` describes.
 */
export function parseTagParams(
  params: URLSearchParams,
  nowMs: number,
  options: ParseOptions = {},
): TagParams {
  const limit = valueOf(params, "limit") ?? "";
  const wanted = /^\d{1,15}$/.test(limit) ? Number(limit) : 0;
  const range = parseSince(params, nowMs) ?? parseTimes(params) ?? defaultRange(nowMs);
  const { filter } = parseLeniently(valueOf(params, "q") ?? "", options);
  return {
    ...range,
    limit: wanted === 0 ? undefined : wanted,
    filter: filter === undefined ? undefined : spanPart(filter),
  };
}

/** Parses the parameter `scope`. Throws InvalidInput. */
export function parseTagScope(params: URLSearchParams): TagScopes {
  const scope = params.get("scope") ?? "";
  if (scope === "" || scope === "none") return { scopes: tagScopes, hasIntrinsics: true };
  if (scope === "intrinsic") return { scopes: [], hasIntrinsics: true };
  // Traces have no attributes.
  if (scope === "trace") return { scopes: [], hasIntrinsics: false };
  const known = tagScopes.find((one) => one === scope);
  if (known === undefined) throw invalid(`invalid scope: ${scope.slice(0, 100)}`);
  return { scopes: [known], hasIntrinsics: false };
}

/** Parses `start` and `end`, both or neither, in any format that clients send to tag endpoints. */
function parseTimes(params: URLSearchParams): TimeRange | undefined {
  const start = valueOf(params, "start");
  const end = valueOf(params, "end");
  if (start === undefined && end === undefined) return undefined;
  // Two zeros count as absent, as in Tempo.
  if (start === "0" && end === "0") return undefined;
  if (start === undefined || end === undefined) {
    throw invalid("only one of start and end provided: must provide both or neither");
  }
  const range = { startNano: parseTime("start", start), endNano: parseTime("end", end) };
  if (range.endNano > range.startNano) return range;
  throw invalid(`http parameter start must be before end. received start=${start} end=${end}`);
}

const nanosPerSecond = 1_000_000_000n;

/** Parses unix seconds (also fractional), unix nanoseconds or RFC 3339. Returns nanoseconds. */
function parseTime(name: string, text: string): bigint {
  if (/^\d{1,10}$/.test(text)) return BigInt(text) * nanosPerSecond;
  if (/^\d{11,19}$/.test(text) && BigInt(text) < 2n ** 63n) return BigInt(text);
  const decimal = /^(\d{1,10})\.(\d{1,9})\d*$/.exec(text);
  if (decimal !== null) {
    return BigInt(decimal[1]) * nanosPerSecond + BigInt(decimal[2].padEnd(9, "0"));
  }
  const isDate = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(text);
  const ms = isDate ? Date.parse(text) : Number.NaN;
  if (ms >= 0) return BigInt(ms) * 1_000_000n;
  const shown = JSON.stringify(text.slice(0, 100));
  throw invalid(`invalid ${name}: must be unix seconds, nanoseconds or RFC 3339, not ${shown}`);
}
