/** What a search did, for `spoor query --explain`: the search is run, and its work told. */
import { cheapestFirst, filterColumns } from "#pkg/engine/filter.ts";
import { conjunctsOf, namesWholeTrace, spanPart } from "#pkg/engine/span-part.ts";
import { formatField } from "#pkg/traceql/format.ts";
import { metricsJson } from "./search-answer.ts";
import type { SearchQuery } from "./search-query.ts";
import type { SearchResult } from "./search.ts";

/**
 * The answer of `/api/search/explain` as JSON.
 *
 * @param elapsedMs from the start of the search to its result.
 */
export function formatExplanation(
  query: SearchQuery,
  { traces, stats, plan, failures }: SearchResult,
  elapsedMs: number,
): string {
  const { filter, startNano, endNano, limit } = query;
  return JSON.stringify({
    query: filter === undefined ? "{ true }" : `{ ${formatField(filter)} }`,
    startTimeUnixNano: String(startNano),
    endTimeUnixNano: String(endNano),
    limit,
    ...(filter === undefined ? {} : conditionsOf(filter)),
    plan,
    metrics: metricsJson(stats),
    traces: traces.length,
    failures: failures.map(({ message }) => message),
    elapsedMs: Math.round(elapsedMs * 10) / 10,
  });
}

/** A row group may ask its conditions in another order: it knows its own values. */
function conditionsOf(filter: NonNullable<SearchQuery["filter"]>): object {
  const part = spanPart(filter);
  return {
    conditions: cheapestFirst(conjunctsOf(filter)).map((one) => formatField(one)),
    columns: filterColumns(filter),
    wholeTraces: namesWholeTrace(filter),
    spanPart: part === undefined ? "true" : formatField(part),
  };
}
