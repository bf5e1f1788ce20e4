/**
 * How a condition is answered, worked out once per query: it goes to the shards and is printed by
 * `--explain`. What the parts of a plan are for stands in pkg/api/query.ts.
 */
import type { QueryPlan } from "#pkg/api/api.ts";
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import { filterColumns, intrinsicNames } from "./filter.ts";
import { isOfWholeTrace } from "./intrinsics.ts";
import { hasPattern, mayFail, requiredTraceId, spanPart } from "./span-part.ts";

/** The plan of a filter. */
export function planQuery(filter: FieldExpr): QueryPlan {
  const prefilter = spanPart(filter);
  const traceId = requiredTraceId(filter);
  return {
    filter,
    ...(prefilter === undefined ? {} : { prefilter }),
    traceNames: [...new Set(intrinsicNames(filter).filter(isOfWholeTrace))],
    canFail: mayFail(filter),
    hasPattern: hasPattern(filter),
    columns: filterColumns(filter),
    ...(traceId === undefined ? {} : { traceId }),
  };
}

/** The plan of a filter, if there is one. */
export function planOf(filter: FieldExpr | undefined): QueryPlan | undefined {
  return filter === undefined ? undefined : planQuery(filter);
}

/** Whether only whole traces tell who matches. */
export function isOfWholeTraces(plan: QueryPlan | undefined): boolean {
  return plan !== undefined && plan.traceNames.length > 0;
}

/**
 * What shards are asked of it: nothing where a part of a trace could be an error that the whole is
 * not. Then each of their traces is looked at whole.
 */
export function planForShards(plan: QueryPlan | undefined): QueryPlan | undefined {
  return isOfWholeTraces(plan) && plan!.canFail ? undefined : plan;
}
