/** Test data: random queries of the whole language as `parseQuery` returns them. */
import fc from "fast-check";
import type {
  AggregateExpr,
  MetricsExpr,
  MetricsFunction,
  PipelineExpr,
  Query,
  QueryBody,
  Reference,
  ScalarPipelineExpr,
  ScalarStatic,
  SecondStage,
  SpansetExpr,
  SpansetFilter,
  SpansetOp,
  Stage,
} from "./ast.ts";
import { int64Max } from "./literals.ts";
import {
  arithmeticOps,
  attribute,
  conditions,
  intrinsicOf,
  literal,
  namesSpan,
  numbers,
  numberStatic,
  orderOps,
  otherStatic,
  range,
} from "./random-field.testing.ts";

const spansetOps: SpansetOp[] = [
  ...(["&&", "||", ">", "<", ">>", "<<", "~", "!>", "!<", "!>>", "!<<", "!~"] as const),
  ...(["&>", "&<", "&>>", "&<<", "&~"] as const),
];

const filter: fc.Arbitrary<SpansetFilter> = fc
  .oneof(
    { arbitrary: conditions(3), weight: 4 },
    { arbitrary: fc.boolean().map((value) => literal({ type: "bool", value })), weight: 1 },
  )
  .map((expr) => ({ kind: "filter", expr, range }));

function spansets(depth: number): fc.Arbitrary<SpansetExpr> {
  if (depth === 0) return filter;
  const operand = spansets(depth - 1);
  const operation = fc
    .tuple(fc.constantFrom(...spansetOps), operand, operand)
    .map(([op, left, right]) => ({ kind: "spansetOperation" as const, op, left, right, range }));
  return fc.oneof(filter, operation);
}

const scalar: fc.Arbitrary<ScalarStatic> = numberStatic.map((value) => ({
  kind: "scalar",
  static: value,
  range,
}));
const references = fc.array(fc.oneof(attribute, intrinsicOf("string", "int", "kind")), {
  minLength: 1,
  maxLength: 4,
});
const namingNumbers = numbers(2).filter(namesSpan);

function aggregates(depth: number): fc.Arbitrary<AggregateExpr> {
  const leaf: fc.Arbitrary<AggregateExpr> = fc.oneof(
    fc.constant({ kind: "aggregate" as const, name: "count" as const, argument: undefined, range }),
    fc
      .tuple(
        fc.constantFrom("min" as const, "max" as const, "avg" as const, "sum" as const),
        namingNumbers,
      )
      .map(([name, argument]) => ({ kind: "aggregate" as const, name, argument, range })),
  );
  if (depth === 0) return leaf;
  const operand = aggregates(depth - 1);
  return fc.oneof(
    leaf,
    fc
      .tuple(fc.constantFrom(...arithmeticOps), operand, fc.oneof(operand, scalar), fc.boolean())
      .map(([op, one, two, isSwapped]) => ({
        kind: "aggregateArithmetic" as const,
        op,
        left: isSwapped ? two : one,
        right: isSwapped ? one : two,
        range,
      })),
  );
}

const stage: fc.Arbitrary<Stage> = fc.oneof(
  spansets(2),
  fc
    .tuple(fc.constantFrom(...orderOps), aggregates(2), fc.oneof(scalar, aggregates(1)))
    .map(([op, left, right]) => ({ kind: "scalarFilter" as const, op, left, right, range })),
  fc
    .oneof(namingNumbers, conditions(2).filter(namesSpan))
    .map((expr) => ({ kind: "groupBy" as const, expr, range })),
  references.map((list) => ({ kind: "select" as const, references: list, range })),
);
const coalesce: Stage = { kind: "coalesce", range };
const stages: fc.Arbitrary<Stage[]> = fc
  .tuple(stage, fc.array(fc.oneof(stage, fc.constant(coalesce)), { maxLength: 3 }))
  .map(([first, rest]) => [first, ...rest]);

/** Pipelines and their operations, except those of single spansets: these are `spansets`. */
function pipelines(depth: number): fc.Arbitrary<PipelineExpr> {
  const single = stages.map((list) => ({ kind: "pipeline" as const, stages: list, range }));
  if (depth === 0) return single;
  const operand = pipelines(depth - 1);
  return fc.oneof(
    single,
    fc
      .tuple(fc.constantFrom(...spansetOps), operand, operand)
      .filter(([, left, right]) => !isSpanset(left) || !isSpanset(right))
      .map(([op, left, right]) => ({ kind: "pipelineOperation" as const, op, left, right, range })),
  );
}

function isSpanset(expr: PipelineExpr): boolean {
  if (expr.kind !== "pipeline" || expr.stages.length > 1) return false;
  const [{ kind }] = expr.stages;
  return kind === "filter" || kind === "spansetOperation";
}

function scalarPipelines(depth: number): fc.Arbitrary<ScalarPipelineExpr> {
  const single = fc.tuple(stages, aggregates(1)).map(([list, aggregate]) => ({
    kind: "scalarPipeline" as const,
    stages: list,
    aggregate,
    range,
  }));
  if (depth === 0) return single;
  const operand = scalarPipelines(depth - 1);
  return fc.oneof(
    single,
    fc.tuple(fc.constantFrom(...arithmeticOps), operand, operand).map(([op, left, right]) => ({
      kind: "scalarPipelineArithmetic" as const,
      op,
      left,
      right,
      range,
    })),
  );
}

const by: fc.Arbitrary<Reference[]> = fc.oneof(fc.constant<Reference[]>([]), references);
const compare: fc.Arbitrary<MetricsFunction> = fc.record({
  kind: fc.constant("compare" as const),
  selection: filter,
  topN: fc.integer({ min: 1, max: 1000 }),
  between: fc.option(
    fc.record({
      startNs: fc.bigInt({ min: 0n, max: int64Max }),
      endNs: fc.bigInt({ min: 0n, max: int64Max }),
    }),
    { nil: undefined },
  ),
  range: fc.constant(range),
});
const seriesFunction: fc.Arbitrary<MetricsFunction> = fc.oneof(
  fc
    .tuple(fc.constantFrom("rate" as const, "count_over_time" as const), by)
    .map(([name, list]) => ({ kind: "countOverTime" as const, name, by: list, range })),
  fc
    .tuple(
      fc.constantFrom(
        ...(["min_over_time", "max_over_time", "avg_over_time"] as const),
        ...(["sum_over_time", "histogram_over_time"] as const),
      ),
      attribute,
      by,
    )
    .map(([name, argument, list]) => ({
      kind: "valueOverTime" as const,
      name,
      argument,
      by: list,
      range,
    })),
  fc
    .tuple(
      attribute,
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }).map(Math.abs), {
        minLength: 1,
        maxLength: 3,
      }),
      by,
    )
    .map(([argument, quantiles, list]) => ({
      kind: "quantiles" as const,
      argument,
      quantiles,
      by: list,
      range,
    })),
);
const second: fc.Arbitrary<SecondStage[]> = fc.array(
  fc.oneof(
    fc
      .tuple(fc.constantFrom("topk" as const, "bottomk" as const), fc.integer({ min: 1 }))
      .map(([kind, count]) => ({ kind, count, range })),
    fc
      .tuple(fc.constantFrom(...orderOps), scalar)
      .map(([op, value]) => ({ kind: "threshold" as const, op, value, range })),
  ),
  { maxLength: 3 },
);

function metrics(depth: number): fc.Arbitrary<MetricsExpr> {
  const single = fc.tuple(stages, seriesFunction, second).map(([list, series, more]) => ({
    kind: "metrics" as const,
    stages: list,
    function: series,
    second: more,
    range,
  }));
  if (depth === 0) return single;
  const operand = metrics(depth - 1);
  const factor = scalar.filter(({ static: { type } }) => type !== "duration");
  return fc.oneof(
    single,
    fc
      .tuple(
        fc.constantFrom("+" as const, "-" as const, "*" as const, "/" as const),
        operand,
        fc.oneof(operand, factor),
        fc.boolean(),
      )
      .map(([op, one, two, isSwapped]) => ({
        kind: "metricsArithmetic" as const,
        op,
        left: withoutSecond(isSwapped ? two : one),
        right: withoutSecond(isSwapped ? one : two),
        second: [],
        range,
      })),
  );
}

/** Removes the second stages of an inner operation, where the syntax does not allow them. */
function withoutSecond(expr: MetricsExpr | ScalarStatic): MetricsExpr | ScalarStatic {
  return expr.kind === "metricsArithmetic" ? { ...expr, second: [] } : expr;
}

const body: fc.Arbitrary<QueryBody> = fc.oneof(
  filter.map((expr) => ({ kind: "pipeline" as const, stages: [expr], range })),
  pipelines(2),
  fc
    .tuple(fc.constantFrom(...orderOps), scalarPipelines(2), fc.oneof(scalar, scalarPipelines(1)))
    .map(([op, left, right]) => ({
      kind: "scalarPipelineFilter" as const,
      op,
      left,
      right,
      range,
    })),
  fc.tuple(metrics(2), second).map(([expr, more]) => ({ ...expr, second: more })),
  fc.tuple(stages, compare).map(([list, comparing]) => ({
    kind: "metrics" as const,
    stages: list,
    function: comparing,
    second: [],
    range,
  })),
);

/** Random queries of the whole language. */
export const randomQuery: fc.Arbitrary<Query> = fc.record({
  body,
  hints: fc.array(
    fc.record({
      name: fc.constantFrom("most_recent", "sample", "exemplars"),
      value: fc.oneof(numberStatic, otherStatic),
      range: fc.constant(range),
    }),
    { maxLength: 3 },
  ),
  range: fc.constant(range),
});
