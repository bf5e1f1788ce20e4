/**
 * Chains of comparisons of one name as sets: `.a = 1 || .a = 2` asks whether the value is one of
 * two, `span.a != 1 && span.a != 2` whether it is neither. A tree of thousands of `||` would be as
 * deep as it is long, and each of them would be asked of each row.
 */
import type { FieldExpr, LiteralSet, Range, Reference, Scalar } from "./ast.ts";

type Comparison = Extract<FieldExpr, { kind: "comparison" }>;
type LogicalOp = "&&" | "||";

/** A comparison of a name with one literal, or with some. */
interface Member {
  reference: Reference;
  values: readonly Scalar[];
  expr: Comparison;
}

/** What `op` joins as members of one set; undefined: it is no such comparison. */
function memberOf(op: LogicalOp, expr: FieldExpr): Member | undefined {
  if (expr.kind !== "comparison" || expr.op !== (op === "||" ? "=" : "!=")) return undefined;
  const { left: reference, right } = expr;
  if (reference.kind !== "attribute" && reference.kind !== "intrinsic") return undefined;
  // Of several events, one may differ from the first literal and another from the second.
  if (op === "&&" && !isSingle(reference)) return undefined;
  if (right.kind === "set") return { reference, values: right.values, expr };
  if (right.kind !== "static" || right.static.type === "nil") return undefined;
  return { reference, values: [right.static], expr };
}

/** Whether a span has at most one value for the name. */
function isSingle(reference: Reference): boolean {
  if (reference.kind === "intrinsic") return !/^(?:event|link):/.test(reference.name);
  return ["span", "resource", "instrumentation"].includes(reference.scope);
}

/** Values of different sorts equal nobody and differ from nobody. */
function sortOf({ type }: Scalar): string {
  return type === "int" || type === "float" || type === "duration" ? "number" : type;
}

function goTogether(a: Member, b: Member): boolean {
  const [x, y] = [a.reference, b.reference];
  const isScopeSame = x.kind === "intrinsic" || (y.kind === "attribute" && x.scope === y.scope);
  const isSame = x.kind === y.kind && x.name === y.name && isScopeSame;
  return isSame && sortOf(a.values[0]) === sortOf(b.values[0]);
}

/** Whether `a op b` is one set. */
export function areOneSet(op: LogicalOp, a: FieldExpr, b: FieldExpr): boolean {
  const [first, second] = [memberOf(op, a), memberOf(op, b)];
  return first !== undefined && second !== undefined && goTogether(first, second);
}

/** The set of comparisons of which all are one (`areOneSet`) with the first. */
export function setOf(op: LogicalOp, all: readonly FieldExpr[]): FieldExpr {
  const members = all.map((one) => memberOf(op, one)!);
  const range = { from: all[0].range.from, to: all[all.length - 1].range.to };
  const right: LiteralSet = { kind: "set", values: members.flatMap(({ values }) => values), range };
  return { ...members[0].expr, right, range };
}

/** `left op right`, where what can be a set is one. */
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
