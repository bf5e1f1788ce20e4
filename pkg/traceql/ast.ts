/**
 * The syntax tree of TraceQL, as checked and normalised by `parseQuery`. Every node has the range
 * of the text it came from (UTF-16 offsets), for error messages.
 */

export interface Range {
  from: number;
  to: number;
}

/**
 * Where an attribute is looked up. `any` (written `.x`): span, resource, event, link,
 * instrumentation.
 */
export type AttributeScope = "any" | "span" | "resource" | "event" | "link" | "instrumentation";

/**
 * Intrinsics by their canonical scoped names (both spellings of the language give the same node).
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

/** A literal. Durations are nanoseconds; status and kind are their words. */
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

export type FieldExpr =
  | { kind: "static"; static: Static; range: Range }
  | { kind: "attribute"; scope: AttributeScope; name: string; range: Range }
  | { kind: "intrinsic"; name: IntrinsicName; range: Range }
  | { kind: "not"; operand: FieldExpr; range: Range }
  | { kind: "negate"; operand: FieldExpr; range: Range }
  | { kind: "logical"; op: "&&" | "||"; left: FieldExpr; right: FieldExpr; range: Range }
  | { kind: "comparison"; op: ComparisonOp; left: FieldExpr; right: FieldExpr; range: Range }
  | { kind: "arithmetic"; op: ArithmeticOp; left: FieldExpr; right: FieldExpr; range: Range };
