/**
 * The sorts of expressions between the stages of a query. All sorts share operators and
 * parentheses, so the grammar does not distinguish them; `combine.ts` checks which may be joined.
 */
import type {
  AggregateExpr,
  MetricsExpr,
  MetricsFunction,
  PipelineExpr,
  Range,
  ScalarPipelineExpr,
  ScalarPipelineFilter,
  ScalarStatic,
  SecondStage,
  SpansetExpr,
  Stage,
} from "./ast.ts";

export type Sort =
  /** A spanset; if wrapped in parentheses, it may also be used as a pipeline of one stage. */
  | { sort: "spanset"; expr: SpansetExpr; isWrapped: boolean }
  | { sort: "stage"; stage: Exclude<Stage, SpansetExpr> }
  | { sort: "scalar"; expr: ScalarStatic }
  | { sort: "aggregate"; expr: AggregateExpr }
  /** Several stages without parentheses. */
  | { sort: "pipeline"; stages: Stage[]; range: Range }
  /** A pipeline in parentheses, or operations between pipelines in parentheses. */
  | { sort: "pipelines"; expr: PipelineExpr }
  /** A pipeline that ends in an aggregate, without parentheses. */
  | { sort: "openScalarPipeline"; expr: ScalarPipelineExpr }
  | { sort: "scalarPipeline"; expr: ScalarPipelineExpr }
  | { sort: "scalarPipelineFilter"; expr: ScalarPipelineFilter }
  /** A metrics function without its pipeline, which is left of the preceding `|`. */
  | { sort: "function"; function: MetricsFunction; second: SecondStage[]; range: Range }
  | { sort: "second"; second: SecondStage[]; range: Range }
  | { sort: "metrics"; expr: MetricsExpr };

const names: Readonly<Record<Sort["sort"], string>> = {
  spanset: "a spanset",
  stage: "a pipeline stage",
  scalar: "a number",
  aggregate: "an aggregate",
  pipeline: "a pipeline",
  pipelines: "a pipeline in parentheses",
  openScalarPipeline: "a pipeline that ends in an aggregate",
  scalarPipeline: "a pipeline that ends in an aggregate",
  scalarPipelineFilter: "a comparison of pipelines",
  function: "a metrics function",
  second: "topk or bottomk",
  metrics: "a metrics query",
};

/** Returns the sort in words, for error messages. */
export function nameOf(sort: Sort): string {
  return names[sort.sort];
}

export function rangeOf(sort: Sort): Range {
  switch (sort.sort) {
    case "stage":
      return sort.stage.range;
    case "pipeline":
    case "function":
    case "second":
      return sort.range;
    default:
      return sort.expr.range;
  }
}

/** Returns the sort as a pipeline in parentheses; undefined if it is none. */
export function asPipelines(sort: Sort): PipelineExpr | undefined {
  if (sort.sort === "pipelines") return sort.expr;
  if (sort.sort !== "spanset" || !sort.isWrapped) return undefined;
  return { kind: "pipeline", stages: [sort.expr], range: sort.expr.range };
}
