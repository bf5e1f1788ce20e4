/**
 * Plans how a condition is evaluated. A plan is made once per query, sent to the shards, and
 * printed by `--explain`. pkg/api/query.ts describes its fields.
 */
import type { QueryPlan } from "#pkg/api/api.ts";
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import { filterColumns, intrinsicNames } from "./filter.ts";
import { isOfWholeTrace } from "./intrinsics.ts";
import { hasPattern, mayFail, requiredTraceId, spanPart } from "./span-part.ts";

/** Returns the plan of a filter. */
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

/** Returns the plan of a filter; undefined without a filter. */
export function planOf(filter: FieldExpr | undefined): QueryPlan | undefined {
  return filter === undefined ? undefined : planQuery(filter);
}

/** Returns whether the plan uses values of whole traces. */
export function isOfWholeTraces(plan: QueryPlan | undefined): boolean {
  return plan !== undefined && plan.traceNames.length > 0;
}

/**
 * Returns the plan that is sent to shards. It is undefined if the condition uses values of whole
 * traces and may fail: a part of a trace could then cause an error that the whole trace does not
 * cause. In this case shards list all traces, and each trace is evaluated as a whole.
 */
export function planForShards(plan: QueryPlan | undefined): QueryPlan | undefined {
  return isOfWholeTraces(plan) && plan!.canFail ? undefined : plan;
}
