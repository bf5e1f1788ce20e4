/** Test data: random field expressions as `parseQuery` returns them: typed and folded. */
import fc from "fast-check";
import type {
  ArithmeticOp,
  AttributeScope,
  FieldExpr,
  IntrinsicName,
  OrderOp,
  Range,
  Reference,
  Static,
} from "./ast.ts";
import { intrinsics } from "./intrinsics.ts";
import { joinLogical } from "./sets.ts";
import { int64Max, int64Min, type NumberStatic } from "./literals.ts";

/** The range of every node: comparisons of random trees ignore ranges. */
export const range: Range = { from: 0, to: 0 };
const scopes: AttributeScope[] = ["any", "span", "resource", "event", "link", "instrumentation"];
export const orderOps: OrderOp[] = ["=", "!=", "<", "<=", ">", ">="];
export const arithmeticOps: ArithmeticOp[] = ["+", "-", "*", "/", "%", "^"];

const text = fc.string({ unit: "binary", maxLength: 12 });
const int = fc.oneof(
  fc.bigInt({ min: -20n, max: 20n }),
  fc.bigInt({ min: int64Min, max: int64Max }),
  fc.constantFrom(int64Min, int64Max),
);
const float = fc.double({ noNaN: true, noDefaultInfinity: true });

export const numberStatic: fc.Arbitrary<NumberStatic> = fc.oneof(
  int.map((value) => ({ type: "int" as const, value })),
  float.map((value) => ({ type: "float" as const, value })),
  int.filter((value) => value !== int64Min).map((value) => ({ type: "duration" as const, value })),
);
export const otherStatic: fc.Arbitrary<Static> = fc.oneof(
  text.map((value) => ({ type: "string" as const, value })),
  fc.boolean().map((value) => ({ type: "bool" as const, value })),
  fc
    .constantFrom("ok" as const, "error" as const, "unset" as const)
    .map((value) => ({ type: "status" as const, value })),
  fc
    .constantFrom("unspecified" as const, "internal" as const, "server" as const)
    .map((value) => ({ type: "kind" as const, value })),
  fc
    .constantFrom("client" as const, "producer" as const, "consumer" as const)
    .map((value) => ({ type: "kind" as const, value })),
);

const plainName = fc.constantFrom("a", "http.status_code", "a-b+c", "5xx", "x:y", "k8s.io/x");
export const attribute: fc.Arbitrary<Reference> = fc.record({
  kind: fc.constant("attribute" as const),
  scope: fc.constantFrom(...scopes),
  name: fc.oneof(
    plainName,
    text.filter((name) => name !== ""),
  ),
  range: fc.constant(range),
});
const isService = (expr: FieldExpr): boolean =>
  expr.kind === "attribute" && expr.scope === "resource" && expr.name === "service.name";

export function intrinsicOf(...types: string[]): fc.Arbitrary<Reference> {
  const names = Object.keys(intrinsics) as IntrinsicName[];
  const fitting = names.filter((name) => types.includes(intrinsics[name].type));
  return fc.constantFrom(...fitting).map((name) => ({ kind: "intrinsic", name, range }));
}

export function literal(value: Static): FieldExpr {
  return { kind: "static", static: value, range };
}

const isStatic = ({ kind }: FieldExpr): boolean => kind === "static";

/** Numeric expressions. Operations never have literals on both sides: these would be folded. */
export function numbers(depth: number): fc.Arbitrary<FieldExpr> {
  const leaf = fc.oneof(
    numberStatic.map(literal),
    attribute,
    intrinsicOf("int", "duration", "any"),
  );
  if (depth === 0) return leaf;
  const operand = numbers(depth - 1);
  return fc.oneof(
    leaf,
    operand
      .filter((expr) => !isStatic(expr))
      .map((expr) => ({ kind: "negate" as const, operand: expr, range })),
    fc
      .tuple(fc.constantFrom(...arithmeticOps), operand, operand)
      .filter(([, left, right]) => !isStatic(left) || !isStatic(right))
      .map(([op, left, right]) => ({ kind: "arithmetic" as const, op, left, right, range })),
    // Not folded, because the quotient is infinite.
    fc.constant({
      kind: "arithmetic" as const,
      op: "/" as const,
      left: literal({ type: "float", value: 1 }),
      right: literal({ type: "int", value: 0n }),
      range,
    }),
  );
}

function comparisons(depth: number): fc.Arbitrary<FieldExpr> {
  const number = numbers(depth - 1);
  const name = fc.oneof(attribute, intrinsicOf("string", "any"));
  const compare = (
    ops: Array<OrderOp | "=~" | "!~">,
    left: fc.Arbitrary<FieldExpr>,
    right: fc.Arbitrary<FieldExpr>,
  ): fc.Arbitrary<FieldExpr> =>
    fc
      .tuple(fc.constantFrom(...ops), left, right)
      .filter(([, a, b]) => !isStatic(a) || !isStatic(b))
      .map(([op, a, b]) => ({ kind: "comparison" as const, op, left: a, right: b, range }));
  const strings = fc.oneof(
    name,
    text.map((value) => literal({ type: "string", value })),
  );
  const pattern = fc
    .constantFrom(".*", "(?i)a|b", "\\d+\n")
    .map((value) => literal({ type: "string", value }));
  const nil = fc.constant(literal({ type: "nil" }));
  return fc.oneof(
    compare(orderOps, number, number),
    compare(orderOps, strings, strings),
    compare(["=~", "!~"], name, pattern),
    compare(["=", "!="], attribute, otherStatic.map(literal)),
    compare(
      ["=", "!="],
      attribute.filter((expr) => !isService(expr)),
      nil,
    ),
    compare(["!="], nil, intrinsicOf("string", "duration")),
    compare(
      ["=", "!="],
      intrinsicOf("status"),
      otherStatic.filter(({ type }) => type === "status").map(literal),
    ),
    compare(
      ["=", "!="],
      intrinsicOf("kind"),
      otherStatic.filter(({ type }) => type === "kind").map(literal),
    ),
  );
}

/** Conditions. An operation has a literal operand only if the other one is an attribute. */
export function conditions(depth: number): fc.Arbitrary<FieldExpr> {
  if (depth === 0) return attribute;
  const operand = conditions(depth - 1);
  return fc.oneof(
    comparisons(depth),
    attribute,
    operand.map((expr) => ({ kind: "not" as const, operand: expr, range })),
    fc
      .tuple(fc.constantFrom("&&" as const, "||" as const), operand, operand)
      .map(([op, left, right]) => joinLogical(op, [left, right], range)),
    fc
      .array(fc.tuple(otherStatic, numberStatic), { minLength: 2, maxLength: 4 })
      .map((pairs) => chainOf(pairs)),
    fc
      .tuple(fc.constantFrom("=" as const, "!=" as const), operand, operand)
      .map(([op, left, right]) => ({ kind: "comparison" as const, op, left, right, range })),
    attribute.map((right) => ({
      kind: "logical" as const,
      op: "&&" as const,
      left: literal({ type: "bool", value: true }),
      right,
      range,
    })),
  );
}

/** Builds `span.a = "x" || span.a = 1 || ...`: sets, and chains that cannot be one. */
function chainOf(pairs: readonly (readonly [Static, Static])[]): FieldExpr {
  const left: FieldExpr = { kind: "attribute", scope: "span", name: "a", range };
  const op = pairs.length % 2 === 0 ? "=" : "!=";
  const all = pairs
    .flat()
    .map((value): FieldExpr => ({ kind: "comparison", op, left, right: literal(value), range }));
  return all.reduce((a, b) => joinLogical(op === "=" ? "||" : "&&", [a, b], range));
}

/** Returns whether the expression references the span. */
export function namesSpan(expr: FieldExpr): boolean {
  if (expr.kind === "static" || expr.kind === "set") return false;
  if (expr.kind === "attribute" || expr.kind === "intrinsic") return true;
  if ("operand" in expr) return namesSpan(expr.operand);
  return namesSpan(expr.left) || namesSpan(expr.right);
}
