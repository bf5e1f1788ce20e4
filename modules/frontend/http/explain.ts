/** The report of a search for `spoor query --explain`. The search is run to make it. */
import type { QueryPlan } from "#pkg/api/api.ts";
import { cheapestFirst, conjunctsOf, isOfWholeTraces } from "#pkg/engine/engine.ts";
import { formatField } from "#pkg/traceql/format.ts";
import { intrinsics } from "#pkg/traceql/traceql.ts";
import { metricsJson } from "./search-answer.ts";
import type { SearchQuery, SearchResult } from "#pkg/query/query.ts";

/**
 * Formats the response of `/api/search/explain` as JSON.
 *
 * @param elapsedMs from the start of the search to its result.
 */
export function formatExplanation(
  query: SearchQuery,
  { traces, stats, plan, failures }: SearchResult,
  elapsedMs: number,
): string {
  const { plan: asked, startNano, endNano, limit } = query;
  return JSON.stringify({
    query: asked === undefined ? "{ true }" : `{ ${formatField(asked.filter)} }`,
    startTimeUnixNano: String(startNano),
    endTimeUnixNano: String(endNano),
    limit,
    ...(asked === undefined ? {} : partsOf(asked)),
    plan,
    metrics: metricsJson(stats),
    traces: traces.length,
    failures: failures.map(({ message }) => message),
    elapsedMs: Math.round(elapsedMs * 10) / 10,
  });
}

/**
 * Returns the parts of a plan. A row group may evaluate the conditions in another order, since it
 * knows how often its own values occur.
 */
function partsOf(plan: QueryPlan): object {
  const { filter, prefilter, traceNames, canFail, columns, traceId } = plan;
  return {
    conditions: cheapestFirst(conjunctsOf(filter)).map((one) => formatField(one)),
    columns,
    wholeTraces: isOfWholeTraces(plan),
    spanPart: prefilter === undefined ? "true" : formatField(prefilter),
    traceValues: traceNames.map((name) => intrinsics[name].legacy ?? name),
    canFail,
    ...(traceId === undefined ? {} : { traceId: Buffer.from(traceId).toString("hex") }),
  };
}
