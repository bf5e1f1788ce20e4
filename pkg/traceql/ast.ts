/**
 * The syntax tree of TraceQL, as checked and normalised by `parseQuery`. Every node has the range
 * of its source text (UTF-16 offsets), for error messages.
 */
import type { Regex } from "./regex.ts";

export interface Range {
  from: number;
  to: number;
}

/**
 * The scope in which an attribute is looked up. `any` (written `.x`) means span, resource, event,
 * link and instrumentation.
 */
export type AttributeScope = "any" | "span" | "resource" | "event" | "link" | "instrumentation";

/**
 * Intrinsics by their canonical scoped names; both spellings of an intrinsic give the same node.
 */
export type IntrinsicName =
  | "span:duration"
  | "span:name"
  | "span:status"
  | "span:statusMessage"
  | "span:kind"
  | "span:id"
  | "span:parentID"
  | "span:childCount"
  | "trace:id"
  | "trace:duration"
  | "trace:rootName"
  | "trace:rootService"
  | "event:name"
  | "event:timeSinceStart"
  | "link:traceID"
  | "link:spanID"
  | "instrumentation:name"
  | "instrumentation:version"
  | "nestedSetLeft"
  | "nestedSetRight"
  | "nestedSetParent";

/** A literal. Durations are nanoseconds; status and kind are their keywords. */
export type Static =
  | { type: "int"; value: bigint }
  | { type: "float"; value: number }
  | { type: "string"; value: string }
  | { type: "bool"; value: boolean }
  | { type: "duration"; value: bigint }
  | { type: "status"; value: "ok" | "error" | "unset" }
  | {
      type: "kind";
      value: "unspecified" | "internal" | "server" | "client" | "producer" | "consumer";
    }
  | { type: "nil" };

export type ComparisonOp = "=" | "!=" | "<" | "<=" | ">" | ">=" | "=~" | "!~";
export type ArithmeticOp = "+" | "-" | "*" | "/" | "%" | "^";

/** A literal other than nil. */
export type Scalar = Exclude<Static, { type: "nil" }>;

/** Literals of one type (all numbers are one type), right of `=` (any of) or `!=` (none of). */
export interface LiteralSet {
  kind: "set";
  /** At least two, in the order of the text, with duplicates. */
  values: readonly Scalar[];
  range: Range;
}

export type FieldExpr =
  | {
      kind: "static";
      static: Static;
      /** The compiled pattern, if the query was prepared for many rows. */
      regex?: Regex;
      range: Range;
    }
  | LiteralSet
  | { kind: "attribute"; scope: AttributeScope; name: string; range: Range }
  | { kind: "intrinsic"; name: IntrinsicName; range: Range }
  | { kind: "not"; operand: FieldExpr; range: Range }
  | { kind: "negate"; operand: FieldExpr; range: Range }
  | { kind: "logical"; op: "&&" | "||"; left: FieldExpr; right: FieldExpr; range: Range }
  | { kind: "comparison"; op: ComparisonOp; left: FieldExpr; right: FieldExpr; range: Range }
  | { kind: "arithmetic"; op: ArithmeticOp; left: FieldExpr; right: FieldExpr; range: Range };

/** A name of a value of a span: an attribute or an intrinsic. */
export type Reference = Extract<FieldExpr, { kind: "attribute" | "intrinsic" }>;

export type StructuralRelation = ">" | "<" | ">>" | "<<" | "~";
/** `!` keeps spans without a partner, `&` keeps both sides of each pair. */
export type StructuralOp = StructuralRelation | `!${StructuralRelation}` | `&${StructuralRelation}`;
export type SpansetOp = "&&" | "||" | StructuralOp;

export type SpansetFilter = { kind: "filter"; expr: FieldExpr; range: Range };

/** Selects spans of one trace. `{ }` is a filter whose expression is the literal true. */
export type SpansetExpr =
  | SpansetFilter
  | {
      kind: "spansetOperation";
      op: SpansetOp;
      left: SpansetExpr;
      right: SpansetExpr;
      range: Range;
    };

export type OrderOp = "=" | "!=" | "<" | "<=" | ">" | ">=";

/** A number outside of `{ }`. */
export type ScalarStatic = {
  kind: "scalar";
  static: Extract<Static, { type: "int" | "float" | "duration" }>;
  range: Range;
};

/** A number computed from each spanset. `count` has no argument; the others have one. */
export type AggregateName = "count" | "min" | "max" | "avg" | "sum";
export type Aggregate = {
  kind: "aggregate";
  name: AggregateName;
  argument: FieldExpr | undefined;
  range: Range;
};
export type AggregateExpr =
  | Aggregate
  | ScalarStatic
  | {
      kind: "aggregateArithmetic";
      op: ArithmeticOp;
      left: AggregateExpr;
      right: AggregateExpr;
      range: Range;
    };

/** One step of a pipeline: a list of spansets in, a list of spansets out. */
export type Stage =
  | SpansetExpr
  | { kind: "scalarFilter"; op: OrderOp; left: AggregateExpr; right: AggregateExpr; range: Range }
  | { kind: "groupBy"; expr: FieldExpr; range: Range }
  | { kind: "coalesce"; range: Range }
  | { kind: "select"; references: Reference[]; range: Range };

export type Pipeline = { kind: "pipeline"; stages: Stage[]; range: Range };

/** Whole pipelines joined by spanset operators, each in parentheses. */
export type PipelineExpr =
  | Pipeline
  | {
      kind: "pipelineOperation";
      op: SpansetOp;
      left: PipelineExpr;
      right: PipelineExpr;
      range: Range;
    };

/** Pipelines that end in an aggregate, each in parentheses, and arithmetic between them. */
export type ScalarPipelineExpr =
  | { kind: "scalarPipeline"; stages: Stage[]; aggregate: AggregateExpr; range: Range }
  | {
      kind: "scalarPipelineArithmetic";
      op: ArithmeticOp;
      left: ScalarPipelineExpr;
      right: ScalarPipelineExpr;
      range: Range;
    };

export type ScalarPipelineFilter = {
  kind: "scalarPipelineFilter";
  op: OrderOp;
  left: ScalarPipelineExpr;
  right: ScalarPipelineExpr | ScalarStatic;
  range: Range;
};

export type CountFunctionName = "rate" | "count_over_time";
export type ValueFunctionName =
  | "min_over_time"
  | "max_over_time"
  | "avg_over_time"
  | "sum_over_time"
  | "histogram_over_time";

export type MetricsFunction =
  | { kind: "countOverTime"; name: CountFunctionName; by: Reference[]; range: Range }
  | {
      kind: "valueOverTime";
      name: ValueFunctionName;
      argument: Reference;
      by: Reference[];
      range: Range;
    }
  | { kind: "quantiles"; argument: Reference; quantiles: number[]; by: Reference[]; range: Range }
  | {
      kind: "compare";
      selection: SpansetFilter;
      /** Most values listed per attribute; undefined: the default of 10. */
      topN: number | undefined;
      /** Time range of the selection, unix nanoseconds. */
      between: { startNs: bigint; endNs: bigint } | undefined;
      range: Range;
    };

/** An operation on the series of a metrics query, applied from left to right. */
export type SecondStage =
  | { kind: "topk" | "bottomk"; count: number; range: Range }
  | { kind: "threshold"; op: OrderOp; value: ScalarStatic; range: Range };

export type MetricsExpr =
  | {
      kind: "metrics";
      stages: Stage[];
      function: MetricsFunction;
      second: SecondStage[];
      range: Range;
    }
  | {
      kind: "metricsArithmetic";
      op: "+" | "-" | "*" | "/";
      left: MetricsExpr | ScalarStatic;
      right: MetricsExpr | ScalarStatic;
      /** Empty except in the outermost operation: the syntax allows it nowhere else. */
      second: SecondStage[];
      range: Range;
    };

export type QueryBody = PipelineExpr | ScalarPipelineFilter | MetricsExpr;

/** A hint of `with(...)`. The reader of a hint ignores unknown names and wrong types. */
export type Hint = { name: string; value: Static; range: Range };

export interface Query {
  body: QueryBody;
  /** The hints of the last `with(...)`; earlier ones have no effect. */
  hints: Hint[];
  range: Range;
}
