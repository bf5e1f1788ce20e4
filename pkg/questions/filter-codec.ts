/** Codec of conditions: the syntax tree of TraceQL, without compiled patterns. */
import type { FieldExpr, IntrinsicName, Range, Scalar, Static } from "#pkg/traceql/traceql.ts";
import {
  bigInt,
  bool,
  type Codec,
  count,
  float,
  list,
  nested,
  record,
  text,
  variant,
  word,
} from "#pkg/wire/wire.ts";

export const intrinsicName: Codec<IntrinsicName> = word([
  "span:duration",
  "span:name",
  "span:status",
  "span:statusMessage",
  "span:kind",
  "span:id",
  "span:parentID",
  "span:childCount",
  "trace:id",
  "trace:duration",
  "trace:rootName",
  "trace:rootService",
  "event:name",
  "event:timeSinceStart",
  "link:traceID",
  "link:spanID",
  "instrumentation:name",
  "instrumentation:version",
  "nestedSetLeft",
  "nestedSetRight",
  "nestedSetParent",
]);

type Valued<T extends Scalar["type"]> = { value: Extract<Scalar, { type: T }>["value"] };

const scalarCases = {
  int: record<Valued<"int">>({ value: bigInt }),
  float: record<Valued<"float">>({ value: float }),
  string: record<Valued<"string">>({ value: text }),
  bool: record<Valued<"bool">>({ value: bool }),
  duration: record<Valued<"duration">>({ value: bigInt }),
  status: record<Valued<"status">>({ value: word(["ok", "error", "unset"]) }),
  kind: record<Valued<"kind">>({
    value: word(["unspecified", "internal", "server", "client", "producer", "consumer"]),
  }),
};

const scalar = variant<Scalar, "type">("type", scalarCases);
const literal = variant<Static, "type">("type", { ...scalarCases, nil: record<object>({}) });

const range = record<Range>({ from: count, to: count });

type NodeOf<K extends FieldExpr["kind"]> = Omit<Extract<FieldExpr, { kind: K }>, "kind">;

/** Codec of an operand. */
const inner: Codec<FieldExpr> = nested(() => fieldExpr);

/** Codec of a literal. A compiled pattern belongs to one thread and is not sent. */
const staticNode: Codec<NodeOf<"static">> = record<Omit<NodeOf<"static">, "regex">>({
  static: literal,
  range,
});

export const fieldExpr: Codec<FieldExpr> = variant<FieldExpr, "kind">("kind", {
  static: staticNode,
  set: record<NodeOf<"set">>({ values: list(scalar), range }),
  attribute: record<NodeOf<"attribute">>({
    scope: word(["any", "span", "resource", "event", "link", "instrumentation"]),
    name: text,
    range,
  }),
  intrinsic: record<NodeOf<"intrinsic">>({ name: intrinsicName, range }),
  not: record<NodeOf<"not">>({ operand: inner, range }),
  negate: record<NodeOf<"negate">>({ operand: inner, range }),
  logical: record<NodeOf<"logical">>({ op: word(["&&", "||"]), left: inner, right: inner, range }),
  comparison: record<NodeOf<"comparison">>({
    op: word(["=", "!=", "<", "<=", ">", ">=", "=~", "!~"]),
    left: inner,
    right: inner,
    range,
  }),
  arithmetic: record<NodeOf<"arithmetic">>({
    op: word(["+", "-", "*", "/", "%", "^"]),
    left: inner,
    right: inner,
    range,
  }),
});
