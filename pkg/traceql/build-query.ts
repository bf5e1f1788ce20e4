/** Builds a checked query from the parser's tree. */
import type { SyntaxNode, Tree } from "@lezer/common";
import type {
  Hint,
  Pipeline,
  Query,
  QueryBody,
  Range,
  ScalarStatic,
  Stage,
  Static,
} from "./ast.ts";
import { type BuildContext, buildLiteral, checkDepth, partsOf, textOf } from "./build-field.ts";
import {
  buildAggregate,
  buildGroupBy,
  buildLimit,
  buildMetrics,
  buildSelect,
  buildSpansetFilter,
} from "./build-stage.ts";
import { addSecond, combine, negate } from "./combine.ts";
import { foldNegation, isNumber } from "./fold.ts";
import { problemAt } from "./problem.ts";
import { nameOf, rangeOf, type Sort } from "./sorts.ts";

/** Levels per operator between stages: its parentheses are two levels of the parser's tree. */
const stageDepth = 2;

export function buildQuery(context: BuildContext, tree: Tree): Query {
  const [pipeline, ...hints] = partsOf(tree.topNode);
  const last = hints.at(-1);
  // Every `with` is checked, but only the last one has an effect.
  const all = hints.map((node) => buildHints(context, node));
  return {
    body: asBody(context, buildPipeline(context, pipeline, 0)),
    hints: last === undefined ? [] : all[all.length - 1],
    range: { from: pipeline.from, to: (last ?? pipeline).to },
  };
}

function asBody(context: BuildContext, sort: Sort): QueryBody {
  switch (sort.sort) {
    case "spanset":
      return { kind: "pipeline", stages: [sort.expr], range: sort.expr.range };
    case "stage":
      return asPipeline(context, sort, [sort.stage]);
    case "pipeline":
      return asPipeline(context, sort, sort.stages);
    case "pipelines":
    case "scalarPipelineFilter":
    case "metrics":
      return sort.expr;
    default:
      throw problemAt(context.text, rangeOf(sort), notComplete(sort));
  }
}

function notComplete(sort: Sort): string {
  switch (sort.sort) {
    case "function":
      return "a metrics function needs a pipeline and | before it";
    case "second":
      return "topk and bottomk need a metrics function and | before them";
    default:
      return `${nameOf(sort)} must be compared with a number`;
  }
}

function asPipeline(context: BuildContext, sort: Sort, stages: Stage[]): Pipeline {
  if (stages[0].kind === "coalesce") {
    throw problemAt(context.text, stages[0].range, "coalesce() cannot be the first stage");
  }
  return { kind: "pipeline", stages, range: rangeOf(sort) };
}

function buildPipeline(context: BuildContext, node: SyntaxNode, depth: number): Sort {
  const sorts = partsOf(node)
    .filter(({ name }) => name !== "|")
    .map((part) => buildStage(context, part, depth));
  if (sorts.length === 1) return sorts[0];
  const [first] = sorts;
  if (first.sort === "metrics") return addSeconds(context, first, sorts.slice(1));
  return joinStages(context, sorts, { from: node.from, to: node.to });
}

function joinStages(context: BuildContext, sorts: Sort[], range: Range): Sort {
  const stages: Stage[] = [];
  for (const [index, sort] of sorts.entries()) {
    if (sort.sort === "spanset") stages.push(sort.expr);
    else if (sort.sort === "stage") stages.push(sort.stage);
    else if (index > 0 && sort.sort === "function") {
      const pipeline = asPipeline(context, sort, stages);
      const metrics: Sort = {
        sort: "metrics",
        expr: {
          kind: "metrics",
          stages: pipeline.stages,
          function: sort.function,
          second: sort.second,
          range: { from: range.from, to: sort.range.to },
        },
      };
      return addSeconds(context, metrics, sorts.slice(index + 1));
    } else if (index > 0 && index === sorts.length - 1 && sort.sort === "aggregate") {
      const { stages: before } = asPipeline(context, sort, stages);
      const expr = { kind: "scalarPipeline" as const, stages: before, aggregate: sort.expr, range };
      return { sort: "openScalarPipeline", expr };
    } else throw problemAt(context.text, rangeOf(sort), notAStage(sort, index));
  }
  return { sort: "pipeline", stages, range };
}

function notAStage(sort: Sort, index: number): string {
  const isAlone = sort.sort === "function" || sort.sort === "second" || sort.sort === "aggregate";
  if (isAlone) return notComplete(sort);
  if (index === 0) return `${nameOf(sort)} cannot be followed by |`;
  return `${nameOf(sort)} is not a pipeline stage`;
}

function addSeconds(context: BuildContext, metrics: Sort, rest: Sort[]): Sort {
  let result = metrics;
  for (const sort of rest) {
    const next = sort.sort === "second" ? addSecond(context, result, sort.second) : undefined;
    if (next === undefined) {
      const message = "only topk and bottomk may follow a metrics function";
      throw problemAt(context.text, rangeOf(sort), message);
    }
    result = next;
  }
  return result;
}

function buildStage(context: BuildContext, node: SyntaxNode, depth: number): Sort {
  const range = { from: node.from, to: node.to };
  checkDepth(context, range, depth);
  switch (node.name) {
    case "SpansetFilter": {
      const expr = buildSpansetFilter(context, node, depth);
      return { sort: "spanset", expr, isWrapped: false };
    }
    case "Group":
      return wrap(context, buildPipeline(context, partsOf(node)[1], depth), range);
    case "Number":
    case "IntegerLimit":
      return { sort: "scalar", expr: buildScalar(context, node) };
    case "Negative":
      return negate(context, buildStage(context, partsOf(node)[1], depth + stageDepth), range);
    case "StageChain":
      return buildChain(context, partsOf(node), depth);
    case "Operation": {
      const [left, op, right] = partsOf(node);
      return combine(context, op.name, {
        left: buildStage(context, left, depth + stageDepth),
        right: buildStage(context, right, depth + stageDepth),
        range,
      });
    }
    case "Aggregate":
      return { sort: "aggregate", expr: buildAggregate(context, node, depth) };
    case "GroupBy":
      return asStage(buildGroupBy(context, node, depth));
    case "Coalesce":
      return asStage({ kind: "coalesce", range });
    case "Select":
      return asStage(buildSelect(context, node));
    case "Metrics": {
      const built = buildMetrics(context, node, depth);
      return { sort: "function", function: built, second: [], range };
    }
    case "Limit":
      return { sort: "second", second: [buildLimit(context, node)], range };
    default:
      throw problemAt(context.text, range, "expected a pipeline stage");
  }
}

/** Builds a chain of `&&` and `||`: `a && b || c` is `(a && b) || c`. */
function buildChain(context: BuildContext, parts: SyntaxNode[], depth: number): Sort {
  const partDepth = depth + (stageDepth * (parts.length - 1)) / 2;
  let left = buildStage(context, parts[0], partDepth);
  for (let index = 1; index < parts.length; index += 2) {
    const right = buildStage(context, parts[index + 1], partDepth);
    const range = { from: parts[0].from, to: parts[index + 1].to };
    left = combine(context, parts[index].name, { left, right, range });
  }
  return left;
}

function asStage(stage: Stage): Sort {
  if (stage.kind === "filter" || stage.kind === "spansetOperation") {
    return { sort: "spanset", expr: stage, isWrapped: false };
  }
  return { sort: "stage", stage };
}

/** Returns the sort of an expression in parentheses. Throws InvalidInput if it allows none. */
function wrap(context: BuildContext, sort: Sort, range: Range): Sort {
  switch (sort.sort) {
    case "spanset":
      return { ...sort, isWrapped: true };
    case "stage":
      return { sort: "pipelines", expr: asPipeline(context, sort, [sort.stage]) };
    case "pipeline":
      return { sort: "pipelines", expr: asPipeline(context, sort, sort.stages) };
    case "openScalarPipeline":
      return { sort: "scalarPipeline", expr: sort.expr };
    case "metrics":
      if (sort.expr.kind === "metrics" || sort.expr.second.length === 0) return sort;
      throw problemAt(
        context.text,
        sort.expr.second[0].range,
        "nothing may follow arithmetic between metrics inside parentheses",
      );
    case "function":
    case "second":
      throw problemAt(context.text, range, notComplete(sort));
    case "scalarPipelineFilter":
      throw problemAt(context.text, range, `${nameOf(sort)} cannot be in parentheses`);
    default:
      return sort;
  }
}

function buildScalar(context: BuildContext, node: SyntaxNode): ScalarStatic {
  const range = { from: node.from, to: node.to };
  const literal = buildLiteral(context, node);
  if (!isNumber(literal)) throw problemAt(context.text, range, "expected a number");
  return { kind: "scalar", static: literal, range };
}

function buildHints(context: BuildContext, node: SyntaxNode): Hint[] {
  return partsOf(node)
    .filter(({ name }) => name === "Hint")
    .map((hint) => {
      const [name, , value] = partsOf(hint);
      const range = { from: hint.from, to: hint.to };
      return { name: textOf(context, name), value: buildHintValue(context, value), range };
    });
}

function buildHintValue(context: BuildContext, node: SyntaxNode): Static {
  if (node.name !== "Negate") return buildLiteral(context, node);
  const literal = buildLiteral(context, partsOf(node)[1]);
  const folded = isNumber(literal) ? foldNegation(literal) : { problem: "expected a number" };
  if ("value" in folded) return folded.value;
  throw problemAt(context.text, { from: node.from, to: node.to }, folded.problem);
}
