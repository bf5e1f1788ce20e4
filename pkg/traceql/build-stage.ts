/** Builds stages and functions without operators from the parser's tree: `by(...)`, `rate()`. */
import type { SyntaxNode } from "@lezer/common";
import type {
  Aggregate,
  AggregateName,
  CountFunctionName,
  FieldExpr,
  MetricsFunction,
  Range,
  Reference,
  SecondStage,
  SpansetFilter,
  Stage,
  ValueFunctionName,
} from "./ast.ts";
import {
  type BuildContext,
  buildField,
  buildFilter,
  buildLiteral,
  buildReference,
  partsOf,
  textOf,
} from "./build-field.ts";
import { mayBeNumber } from "./check-field.ts";
import { problemAt } from "./problem.ts";

const labelsMax = 5;
/** Most labels of histograms and quantiles, which add a label of their own. */
const bucketLabelsMax = 4;
const topNMax = 1000;

function rangeOf(node: SyntaxNode): Range {
  return { from: node.from, to: node.to };
}

export function buildSpansetFilter(
  context: BuildContext,
  node: SyntaxNode,
  depth: number,
): SpansetFilter {
  return { kind: "filter", expr: buildFilter(context, node, depth), range: rangeOf(node) };
}

export function buildAggregate(context: BuildContext, node: SyntaxNode, depth: number): Aggregate {
  const range = rangeOf(node);
  const [name, , content] = partsOf(node);
  const head = { kind: "aggregate" as const, name: name.name as AggregateName, range };
  if (name.name === "count") return { ...head, argument: undefined };
  const { expr, type } = buildField(context, content, depth + 1);
  if (!mayBeNumber(type)) {
    throw problemAt(context.text, rangeOf(content), `${name.name} needs a number, not ${type}`);
  }
  checkReferences(context, expr, rangeOf(content));
  return { ...head, argument: expr };
}

export function buildGroupBy(context: BuildContext, node: SyntaxNode, depth: number): Stage {
  const [, , content] = partsOf(node);
  const { expr } = buildField(context, content, depth + 1);
  checkReferences(context, expr, rangeOf(content));
  return { kind: "groupBy", expr, range: rangeOf(node) };
}

export function buildSelect(context: BuildContext, node: SyntaxNode): Stage {
  const [, list] = partsOf(node);
  return { kind: "select", references: buildReferences(context, list), range: rangeOf(node) };
}

function checkReferences({ text }: BuildContext, expr: FieldExpr, range: Range): void {
  if (!namesSpan(expr)) throw problemAt(text, range, "the expression must reference the span");
}

function namesSpan(expr: FieldExpr): boolean {
  switch (expr.kind) {
    case "static":
    case "set":
      return false;
    case "attribute":
    case "intrinsic":
      return true;
    case "not":
    case "negate":
      return namesSpan(expr.operand);
    default:
      return namesSpan(expr.left) || namesSpan(expr.right);
  }
}

function buildReferences(context: BuildContext, list: SyntaxNode): Reference[] {
  return partsOf(list)
    .filter(({ name }) => name !== "(" && name !== ")" && name !== ",")
    .map((node) => buildReference(context, node).expr);
}

/** Builds a metrics function: `rate() by (...)` and all others that return series. */
export function buildMetrics(
  context: BuildContext,
  node: SyntaxNode,
  depth: number,
): MetricsFunction {
  const range = rangeOf(node);
  const parts = partsOf(node);
  const { name } = parts[0];
  if (name === "compare") return buildCompare(context, parts, { range, depth });
  const byNode = parts.find((part) => part.name === "MetricsBy");
  const by = byNode === undefined ? [] : buildReferences(context, partsOf(byNode)[1]);
  const isBucketed = name === "histogram_over_time" || name === "quantile_over_time";
  if (by.length > (isBucketed ? bucketLabelsMax : labelsMax)) {
    const message = `metrics group by ${by.length} values not yet supported`;
    throw problemAt(context.text, rangeOf(byNode!), message);
  }
  if (name === "rate" || name === "count_over_time") {
    return { kind: "countOverTime", name: name as CountFunctionName, by, range };
  }
  const argument = buildReference(context, parts[2]).expr;
  if (name !== "quantile_over_time") {
    return { kind: "valueOverTime", name: name as ValueFunctionName, argument, by, range };
  }
  const quantiles = parts
    .filter((part) => part.name === "Number")
    .map((part) => buildQuantile(context, part));
  return { kind: "quantiles", argument, quantiles, by, range };
}

function buildQuantile(context: BuildContext, node: SyntaxNode): number {
  const literal = buildLiteral(context, node);
  const value = literal.type === "int" || literal.type === "float" ? Number(literal.value) : NaN;
  if (value >= 0 && value <= 1) return value;
  throw problemAt(context.text, rangeOf(node), "quantiles are numbers from 0 to 1");
}

function buildCompare(
  context: BuildContext,
  parts: SyntaxNode[],
  { range, depth }: { range: Range; depth: number },
): MetricsFunction {
  const selection = buildSpansetFilter(context, parts[2], depth + 1);
  const numbers = parts.filter(({ name }) => name === "Number");
  if (numbers.length === 2 || numbers.length > 3) {
    const message =
      "compare takes a filter, then nothing, a top count, or top count, start and end";
    throw problemAt(context.text, rangeOf(numbers[1]), message);
  }
  const [topN, startNs, endNs] = numbers.map((node) => buildInt(context, node));
  if (topN !== undefined && (topN < 1n || topN > BigInt(topNMax))) {
    const message = `the top count is from 1 to ${topNMax}`;
    throw problemAt(context.text, rangeOf(numbers[0]), message);
  }
  return {
    kind: "compare",
    selection,
    topN: topN === undefined ? undefined : Number(topN),
    between: startNs === undefined ? undefined : { startNs, endNs },
    range,
  };
}

function buildInt(context: BuildContext, node: SyntaxNode): bigint {
  const literal = buildLiteral(context, node);
  if (literal.type === "int") return literal.value;
  throw problemAt(context.text, rangeOf(node), `expected an integer, not ${literal.type}`);
}

/** Builds `topk(n)` or `bottomk(n)`. */
export function buildLimit(context: BuildContext, node: SyntaxNode): SecondStage {
  const [name, , number] = partsOf(node);
  const count = buildInt(context, number);
  if (count >= 1n && count <= BigInt(Number.MAX_SAFE_INTEGER)) {
    return { kind: name.name as "topk" | "bottomk", count: Number(count), range: rangeOf(node) };
  }
  const message = `${name.name} needs a count of at least 1`;
  throw problemAt(context.text, rangeOf(number), `${message}: ${textOf(context, rangeOf(node))}`);
}
