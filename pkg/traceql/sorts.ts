/**
 * What an expression between the stages of a query can be. All sorts share operators and
 * parentheses, so the grammar does not tell them apart; `combine.ts` says which may meet.
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
  /** In parentheses it may also stand for a pipeline of one stage. */
  | { sort: "spanset"; expr: SpansetExpr; isWrapped: boolean }
  | { sort: "stage"; stage: Exclude<Stage, SpansetExpr> }
  | { sort: "scalar"; expr: ScalarStatic }
  | { sort: "aggregate"; expr: AggregateExpr }
  /** Several stages without parentheses. */
  | { sort: "pipeline"; stages: Stage[]; range: Range }
  /** One pipeline in parentheses, or operations on such. */
  | { sort: "pipelines"; expr: PipelineExpr }
  /** A pipeline that ends in an aggregate, without parentheses. */
  | { sort: "openScalarPipeline"; expr: ScalarPipelineExpr }
  | { sort: "scalarPipeline"; expr: ScalarPipelineExpr }
  | { sort: "scalarPipelineFilter"; expr: ScalarPipelineFilter }
  /** A function whose pipeline stands before the `|` to its left. */
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

/** The sort in words, for messages. */
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

/** The stages of a sort that may be a pipeline in parentheses. */
export function asPipelines(sort: Sort): PipelineExpr | undefined {
  if (sort.sort === "pipelines") return sort.expr;
  if (sort.sort !== "spanset" || !sort.isWrapped) return undefined;
  return { kind: "pipeline", stages: [sort.expr], range: sort.expr.range };
}
