/**
 * Turns chains of comparisons of one name into sets: `.a = 1 || .a = 2` tests whether the value is
 * one of two, `span.a != 1 && span.a != 2` whether it is neither. Without sets, a chain of
 * thousands of `||` would be a tree of thousands of levels, and each row would be tested thousands
 * of times.
 */
import type { FieldExpr, LiteralSet, Range, Reference, Scalar } from "./ast.ts";

type Comparison = Extract<FieldExpr, { kind: "comparison" }>;
type LogicalOp = "&&" | "||";

/** A comparison of a name with one or more literals. */
interface Member {
  reference: Reference;
  values: readonly Scalar[];
  expr: Comparison;
}

/** Returns the comparison as a member of a set joined by `op`; undefined if it cannot be one. */
function memberOf(op: LogicalOp, expr: FieldExpr): Member | undefined {
  if (expr.kind !== "comparison" || expr.op !== (op === "||" ? "=" : "!=")) return undefined;
  const { left: reference, right } = expr;
  if (reference.kind !== "attribute" && reference.kind !== "intrinsic") return undefined;
  // With several events, one may differ from the first literal and another from the second.
  if (op === "&&" && !isSingle(reference)) return undefined;
  if (right.kind === "set") return { reference, values: right.values, expr };
  if (right.kind !== "static" || right.static.type === "nil") return undefined;
  return { reference, values: [right.static], expr };
}

/** Returns whether a span has at most one value for the name. */
function isSingle(reference: Reference): boolean {
  if (reference.kind === "intrinsic") return !/^(?:event|link):/.test(reference.name);
  return ["span", "resource", "instrumentation"].includes(reference.scope);
}

/** Returns the comparable type. Between different types, both `=` and `!=` are false. */
function sortOf({ type }: Scalar): string {
  return type === "int" || type === "float" || type === "duration" ? "number" : type;
}

function canJoin(a: Member, b: Member): boolean {
  const [x, y] = [a.reference, b.reference];
  const isScopeSame = x.kind === "intrinsic" || (y.kind === "attribute" && x.scope === y.scope);
  const isSame = x.kind === y.kind && x.name === y.name && isScopeSame;
  return isSame && sortOf(a.values[0]) === sortOf(b.values[0]);
}

/** Returns whether `a op b` can be one set. */
export function areOneSet(op: LogicalOp, a: FieldExpr, b: FieldExpr): boolean {
  const [first, second] = [memberOf(op, a), memberOf(op, b)];
  return first !== undefined && second !== undefined && canJoin(first, second);
}

/** Joins comparisons to a set. Each must form a set (`areOneSet`) with the first one. */
export function setOf(op: LogicalOp, all: readonly FieldExpr[]): FieldExpr {
  const members = all.map((one) => memberOf(op, one)!);
  const range = { from: all[0].range.from, to: all[all.length - 1].range.to };
  const right: LiteralSet = { kind: "set", values: members.flatMap(({ values }) => values), range };
  return { ...members[0].expr, right, range };
}

/** Joins `left op right`, as a set if possible. */
export function joinLogical(
  op: LogicalOp,
  [left, right]: readonly [FieldExpr, FieldExpr],
  range: Range,
): FieldExpr {
  if (areOneSet(op, left, right)) return { ...setOf(op, [left, right]), range };
  if (left.kind === "logical" && left.op === op && areOneSet(op, left.right, right)) {
    return { ...left, right: setOf(op, [left.right, right]), range };
  }
  return { kind: "logical", op, left, right, range };
}
