/** Formats queries as canonical text: parsing it returns an equal tree. */
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
  Stage,
} from "./ast.ts";
import { formatField, formatStatic } from "./format.ts";

/** Precedence of operators outside of `{ }`. */
const level = { logical: 1, compare: 2, sum: 3, product: 5, power: 6, atom: 7 };

function levelOfOp(op: string): number {
  if (op === "&&" || op === "||") return level.logical;
  if (op === "+" || op === "-") return level.sum;
  if (op === "*" || op === "/" || op === "%") return level.product;
  return op === "^" ? level.power : level.compare;
}

/** Returns the canonical text of a checked query. */
export function formatQuery(query: Query): string {
  const body = printBody(query.body);
  if (query.hints.length === 0) return body;
  const hints = query.hints.map(({ name, value }) => `${name}=${formatStatic(value)}`);
  return `${body} with(${hints.join(", ")})`;
}

function printBody(body: QueryBody): string {
  switch (body.kind) {
    case "pipeline":
      return printStages(body.stages);
    case "pipelineOperation":
      return printPipelines(body);
    case "scalarPipelineFilter": {
      const right =
        body.right.kind === "scalar"
          ? formatStatic(body.right.static)
          : printScalarPipeline(body.right);
      return `${printScalarPipeline(body.left)} ${body.op} ${right}`;
    }
    default:
      return printMetrics(body);
  }
}

interface Binary<T> {
  op: string;
  left: T;
  right: T;
}

/** Prints `left op right`, with parentheses where the text would parse to a different tree. */
function printBinary<T extends { kind: string }>(
  { op, left, right }: Binary<T>,
  print: (side: T) => string,
): string {
  const own = levelOfOp(op);
  const isRight = op === "^";
  const side = (expr: T, levelMin: number): string => {
    const inner = "op" in expr ? String(expr.op) : undefined;
    const isMixed = own === level.logical && inner !== undefined && inner !== op;
    const isWeak = levelOfExpr(expr) < levelMin || (isMixed && levelOfOp(inner) === own);
    return isWeak ? `(${print(expr)})` : print(expr);
  };
  const leftText = side(left, isRight ? own + 1 : own);
  return `${leftText} ${op} ${side(right, isRight ? own : own + 1)}`;
}

function levelOfExpr(expr: { kind: string }): number {
  if ("op" in expr) return levelOfOp(String(expr.op));
  const isNegative =
    expr.kind === "scalar" && formatStatic((expr as ScalarStatic).static).startsWith("-");
  return isNegative ? level.sum : level.atom;
}

function printStages(stages: Stage[]): string {
  return stages.map(printStage).join(" | ");
}

function printStage(stage: Stage): string {
  switch (stage.kind) {
    case "scalarFilter":
      return printBinary(stage, printAggregate);
    case "groupBy":
      return `by(${formatField(stage.expr)})`;
    case "coalesce":
      return "coalesce()";
    case "select":
      return `select(${printReferences(stage.references)})`;
    default:
      return printSpanset(stage);
  }
}

function printSpanset(expr: SpansetExpr): string {
  if (expr.kind === "spansetOperation") return printBinary(expr, printSpanset);
  return `{ ${formatField(expr.expr)} }`;
}

function printAggregate(expr: AggregateExpr): string {
  switch (expr.kind) {
    case "scalar":
      return formatStatic(expr.static);
    case "aggregate":
      return `${expr.name}(${expr.argument === undefined ? "" : formatField(expr.argument)})`;
    default:
      return printBinary(expr, printAggregate);
  }
}

function printPipelines(expr: PipelineExpr): string {
  if (expr.kind === "pipelineOperation") return printBinary(expr, printPipelines);
  return `(${printStages(expr.stages)})`;
}

function printScalarPipeline(expr: ScalarPipelineExpr): string {
  if (expr.kind === "scalarPipelineArithmetic") return printBinary(expr, printScalarPipeline);
  return `(${printStages(expr.stages)} | ${printAggregate(expr.aggregate)})`;
}

/** Prints metrics as the body of a query, with its second stages. */
function printMetrics(expr: MetricsExpr): string {
  const second = expr.second.map(printSecond).join("");
  if (expr.kind === "metricsArithmetic") return printBinary(expr, printOperand) + second;
  return `${printStages(expr.stages)} | ${printFunction(expr.function)}${second}`;
}

function printOperand(expr: MetricsExpr | ScalarStatic): string {
  if (expr.kind === "scalar") return formatStatic(expr.static);
  if (expr.kind === "metricsArithmetic") return printBinary(expr, printOperand);
  return `(${printMetrics(expr)})`;
}

function printSecond(stage: SecondStage): string {
  if (stage.kind !== "threshold") return ` | ${stage.kind}(${stage.count})`;
  return ` ${stage.op} ${formatStatic(stage.value.static)}`;
}

function printFunction(metrics: MetricsFunction): string {
  switch (metrics.kind) {
    case "countOverTime":
      return `${metrics.name}()${printBy(metrics.by)}`;
    case "valueOverTime":
      return `${metrics.name}(${formatField(metrics.argument)})${printBy(metrics.by)}`;
    case "quantiles": {
      const quantiles = metrics.quantiles.map((quantile) => `, ${quantile}`).join("");
      const argument = formatField(metrics.argument);
      return `quantile_over_time(${argument}${quantiles})${printBy(metrics.by)}`;
    }
    default: {
      const { topN, between } = metrics;
      const top = topN === undefined ? "" : `, ${topN}`;
      const times = between === undefined ? "" : `, ${between.startNs}, ${between.endNs}`;
      return `compare(${printSpanset(metrics.selection)}${top}${times})`;
    }
  }
}

function printBy(references: Reference[]): string {
  return references.length === 0 ? "" : ` by(${printReferences(references)})`;
}

function printReferences(references: Reference[]): string {
  return references.map(formatField).join(", ");
}
