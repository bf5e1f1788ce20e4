/** Joins expressions between stages: which sorts an operator accepts, and the resulting sort. */
import type {
  AggregateExpr,
  ArithmeticOp,
  MetricsExpr,
  OrderOp,
  Range,
  ScalarPipelineExpr,
  ScalarStatic,
  SecondStage,
  SpansetOp,
} from "./ast.ts";
import type { CheckContext } from "./check-field.ts";
import { foldArithmetic, foldNegation } from "./fold.ts";
import { problemAt } from "./problem.ts";
import { asPipelines, nameOf, rangeOf, type Sort } from "./sorts.ts";

interface Pair {
  left: Sort;
  right: Sort;
  range: Range;
}

const orderOps: ReadonlySet<string> = new Set(["=", "!=", "<", "<=", ">", ">="]);
const arithmeticOps: ReadonlySet<string> = new Set(["+", "-", "*", "/", "%", "^"]);

/** Joins `left op right` between stages. Throws InvalidInput if `op` does not accept both sides. */
export function combine(context: CheckContext, op: string, pair: Pair): Sort {
  const joined = arithmeticOps.has(op)
    ? combineArithmetic(context, op as ArithmeticOp, pair)
    : (combineSpansets(op, pair) ??
      (orderOps.has(op) ? combineOrder(context, op as OrderOp, pair) : undefined));
  if (joined !== undefined) return joined;
  throw problemAt(context.text, pair.range, explain(op, pair));
}

function explain(op: string, { left, right }: Pair): string {
  const sorts = [left.sort, right.sort];
  const sides = `${op} cannot stand between ${nameOf(left)} and ${nameOf(right)}`;
  if (sorts.includes("function") && arithmeticOps.has(op)) {
    return `${sides}, metrics queries need parentheses around them`;
  }
  const isPipeline = sorts.some((sort) => sort === "pipelines");
  if (isPipeline && sorts.includes("spanset")) {
    return `${sides}, both sides need parentheses around them`;
  }
  if (left.sort === "scalar" && right.sort === "scalar") {
    return `${sides}, one side must be an aggregate`;
  }
  return sides;
}

function combineSpansets(op: string, { left, right, range }: Pair): Sort | undefined {
  if (op === "=" || op === "!=" || op === "<=" || op === ">=") return undefined;
  const spansetOp = op as SpansetOp;
  if (left.sort === "spanset" && right.sort === "spanset") {
    const expr = { left: left.expr, right: right.expr, op: spansetOp, range };
    return { sort: "spanset", isWrapped: false, expr: { kind: "spansetOperation", ...expr } };
  }
  const leftPipelines = asPipelines(left);
  const rightPipelines = asPipelines(right);
  if (leftPipelines === undefined || rightPipelines === undefined) return undefined;
  const expr = { left: leftPipelines, right: rightPipelines, op: spansetOp, range };
  return { sort: "pipelines", expr: { kind: "pipelineOperation", ...expr } };
}

function combineOrder(context: CheckContext, op: OrderOp, pair: Pair): Sort | undefined {
  const { left, right, range } = pair;
  const sides = aggregateSides(pair);
  if (sides !== undefined) {
    return { sort: "stage", stage: { kind: "scalarFilter", op, ...sides, range } };
  }
  if (left.sort === "scalarPipeline") {
    if (right.sort !== "scalarPipeline" && right.sort !== "scalar") return undefined;
    const expr = { left: left.expr, right: right.expr, op, range };
    return { sort: "scalarPipelineFilter", expr: { kind: "scalarPipelineFilter", ...expr } };
  }
  if (right.sort !== "scalar") return undefined;
  return addSecond(context, left, [{ kind: "threshold", op, value: right.expr, range }]);
}

/** Appends second stages to the series of `sort`; returns undefined if it has no series. */
export function addSecond(
  context: CheckContext,
  sort: Sort,
  more: SecondStage[],
): Sort | undefined {
  const start = rangeOf(sort).from;
  const range = { from: start, to: more.at(-1)?.range.to ?? rangeOf(sort).to };
  if (sort.sort === "second") return { ...sort, second: [...sort.second, ...more], range };
  const isCompare =
    (sort.sort === "function" && sort.function.kind === "compare") ||
    (sort.sort === "metrics" && isComparing(sort.expr));
  if (isCompare && more.length > 0) {
    throw problemAt(context.text, more[0].range, "compare() cannot be followed by a second stage");
  }
  if (sort.sort === "function") return { ...sort, second: [...sort.second, ...more], range };
  if (sort.sort !== "metrics") return undefined;
  return { sort: "metrics", expr: { ...sort.expr, second: [...sort.expr.second, ...more], range } };
}

function isComparing(expr: MetricsExpr): boolean {
  return expr.kind === "metrics" && expr.function.kind === "compare";
}

/** Returns both sides if one is an aggregate and the other one is an aggregate or a number. */
function aggregateSides({
  left,
  right,
}: Pair): { left: AggregateExpr; right: AggregateExpr } | undefined {
  const isLeft = left.sort === "aggregate" || left.sort === "scalar";
  const isRight = right.sort === "aggregate" || right.sort === "scalar";
  if (!isLeft || !isRight || (left.sort === "scalar" && right.sort === "scalar")) return undefined;
  return { left: left.expr, right: right.expr };
}

function combineArithmetic(context: CheckContext, op: ArithmeticOp, pair: Pair): Sort | undefined {
  const { left, right, range } = pair;
  if (left.sort === "scalar" && right.sort === "scalar") {
    return { sort: "scalar", expr: foldScalars(context, op, [left.expr, right.expr], range) };
  }
  const sides = aggregateSides(pair);
  if (sides !== undefined) {
    return { sort: "aggregate", expr: { kind: "aggregateArithmetic", op, ...sides, range } };
  }
  if (left.sort === "scalarPipeline" && right.sort === "scalarPipeline") {
    const expr: ScalarPipelineExpr = {
      kind: "scalarPipelineArithmetic",
      op,
      left: left.expr,
      right: right.expr,
      range,
    };
    return { sort: "scalarPipeline", expr };
  }
  return combineMetrics(context, op, pair);
}

function combineMetrics(context: CheckContext, op: ArithmeticOp, pair: Pair): Sort | undefined {
  const { left, right, range } = pair;
  const isLeft = left.sort === "metrics" || left.sort === "scalar";
  const isRight = right.sort === "metrics" || right.sort === "scalar";
  if (!isLeft || !isRight) return undefined;
  if (op === "%" || op === "^") {
    throw problemAt(context.text, range, `${op} is not defined for metrics`);
  }
  for (const { expr } of [left, right]) {
    if (expr.kind === "scalar" && expr.static.type === "duration") {
      throw problemAt(context.text, expr.range, "durations cannot be used in metrics arithmetic");
    }
    if (expr.kind === "metrics" && isComparing(expr)) {
      throw problemAt(context.text, expr.range, "compare() cannot be used in metrics arithmetic");
    }
  }
  const expr = { left: left.expr, right: right.expr, op, second: [], range };
  return { sort: "metrics", expr: { kind: "metricsArithmetic", ...expr } };
}

function foldScalars(
  { text }: CheckContext,
  op: ArithmeticOp,
  [left, right]: [ScalarStatic, ScalarStatic],
  range: Range,
): ScalarStatic {
  if (op === "%" || op === "^")
    throw problemAt(text, range, `${op} is not defined for numbers here`);
  if (left.static.type === "duration" || right.static.type === "duration") {
    throw problemAt(text, range, "durations cannot be used in arithmetic here");
  }
  const folded = foldArithmetic(op, left.static, right.static);
  if (folded === undefined) throw problemAt(text, range, "the result is not a number");
  if ("problem" in folded) throw problemAt(text, range, folded.problem);
  return { kind: "scalar", static: folded.value, range };
}

/** Negates a number. Throws InvalidInput for other sorts. */
export function negate({ text }: CheckContext, sort: Sort, range: Range): Sort {
  if (sort.sort !== "scalar") {
    throw problemAt(text, range, `- needs a number, not ${nameOf(sort)}`);
  }
  const folded = foldNegation(sort.expr.static);
  if ("problem" in folded) throw problemAt(text, range, folded.problem);
  return { sort: "scalar", expr: { kind: "scalar", static: folded.value, range } };
}
