/**
 * Checks the types of field expressions and folds constant ones. Operands must be checked and
 * folded already. All checks throw InvalidInput.
 */
import type { ArithmeticOp, ComparisonOp, FieldExpr, Range, Static } from "./ast.ts";
import { foldArithmetic, foldComparison, foldNegation, isNumber } from "./fold.ts";
import type { ValueType } from "./intrinsics.ts";
import { problemAt } from "./problem.ts";
import { costOfRegex, type RegexCache } from "./regex.ts";
import { regexSizeMax } from "./limits.ts";
import { joinLogical } from "./sets.ts";
import { SpoorError } from "#pkg/errors/errors.ts";

export interface CheckContext {
  text: string;
  /** Cost of all regular expressions so far (`costOfRegex`). */
  regexSize: number;
  /** Highest cost to compile on this thread; above it, `RegexElsewhere` is thrown. */
  regexSizeHere: number;
  regexes: RegexCache;
}

export interface Checked {
  expr: FieldExpr;
  type: ValueType;
}

/** Thrown if a query's regular expressions are too expensive to compile on this thread. */
export class RegexElsewhere extends Error {}

interface Operation<Op> {
  op: Op;
  left: Checked;
  right: Checked;
  range: Range;
}

const illegal = "illegal operation for the given types";

function staticOf(expr: FieldExpr): Static | undefined {
  return expr.kind === "static" ? expr.static : undefined;
}

function literal(value: Static, range: Range): Checked {
  return { expr: { kind: "static", static: value, range }, type: value.type };
}

/** Returns whether a value of this type may be a number. */
export function mayBeNumber(type: ValueType): boolean {
  return isNumeric(type) || type === "any";
}

function isNumeric(type: ValueType): boolean {
  return type === "int" || type === "float" || type === "duration" || type === "number";
}

function mayBeBool(type: ValueType): boolean {
  return type === "bool" || type === "any";
}

/** Checks `!operand`. */
export function checkNot({ text }: CheckContext, operand: Checked, range: Range): Checked {
  if (!mayBeBool(operand.type)) throw problemAt(text, range, `${illegal}: ! needs a boolean`);
  const value = staticOf(operand.expr);
  if (value?.type === "bool") return literal({ type: "bool", value: !value.value }, range);
  return { expr: { kind: "not", operand: operand.expr, range }, type: "bool" };
}

/** Checks `-operand`. */
export function checkNegate({ text }: CheckContext, operand: Checked, range: Range): Checked {
  if (!mayBeNumber(operand.type)) throw problemAt(text, range, `${illegal}: - needs a number`);
  const value = staticOf(operand.expr);
  if (value !== undefined && isNumber(value)) {
    const folded = foldNegation(value);
    if ("problem" in folded) throw problemAt(text, range, folded.problem);
    return literal(folded.value, range);
  }
  const type = operand.type === "any" ? "number" : operand.type;
  return { expr: { kind: "negate", operand: operand.expr, range }, type };
}

/** Checks `left && right` and `left || right`. */
export function checkLogical(
  { text }: CheckContext,
  { op, left, right, range }: Operation<"&&" | "||">,
): Checked {
  if (!mayBeBool(left.type) || !mayBeBool(right.type)) {
    throw problemAt(text, range, `${illegal}: ${op} needs booleans`);
  }
  for (const [side, other] of [
    [left, right],
    [right, left],
  ]) {
    const value = staticOf(side.expr);
    if (value?.type !== "bool") continue;
    // `true || x` and `false && x` do not depend on x; `true && x` is x, if x is a boolean.
    if (value.value === (op === "||")) return literal(value, range);
    if (other.type === "bool") return other;
  }
  return { expr: joinLogical(op, [left.expr, right.expr], range), type: "bool" };
}

/** Checks an arithmetic operation. */
export function checkArithmetic(
  { text }: CheckContext,
  { op, left, right, range }: Operation<ArithmeticOp>,
): Checked {
  if (!mayBeNumber(left.type) || !mayBeNumber(right.type)) {
    throw problemAt(text, range, `${illegal}: ${op} needs numbers`);
  }
  const leftValue = staticOf(left.expr);
  const rightValue = staticOf(right.expr);
  if (leftValue !== undefined && rightValue !== undefined) {
    const folded =
      isNumber(leftValue) && isNumber(rightValue)
        ? foldArithmetic(op, leftValue, rightValue)
        : undefined;
    if (folded !== undefined) {
      if ("problem" in folded) throw problemAt(text, range, folded.problem);
      return literal(folded.value, range);
    }
  }
  const type = arithmeticType(left.type, right.type);
  return {
    expr: { kind: "arithmetic", op, left: left.expr, right: right.expr, range },
    type,
  };
}

function arithmeticType(left: ValueType, right: ValueType): ValueType {
  if (left === "int" && right === "int") return "int";
  const isKnown = left !== "any" && right !== "any" && left !== "number" && right !== "number";
  return isKnown ? "float" : "number";
}

/** Checks a comparison. */
export function checkComparison(
  context: CheckContext,
  { op, left, right, range }: Operation<ComparisonOp>,
): Checked {
  const { text } = context;
  const problem = findProblem(op, left, right);
  if (problem !== undefined) throw problemAt(text, range, problem);
  const leftValue = staticOf(left.expr);
  const rightValue = staticOf(right.expr);
  if (op === "=~" || op === "!~") {
    if (rightValue?.type !== "string") {
      throw problemAt(text, right.expr.range, `${op} needs a string literal`);
    }
    checkRegex(context, rightValue.value, right.expr.range);
  }
  if (leftValue !== undefined && rightValue !== undefined) {
    return literal(
      { type: "bool", value: foldComparison(context.regexes, op, leftValue, rightValue) },
      range,
    );
  }
  return {
    expr: { kind: "comparison", op, left: left.expr, right: right.expr, range },
    type: "bool",
  };
}

function checkRegex(context: CheckContext, pattern: string, range: Range): void {
  const { text } = context;
  context.regexSize += costOfRegex(pattern);
  if (context.regexSize > regexSizeMax) {
    const cost = `${context.regexSize} steps`;
    const message = `the regular expressions cost ${cost} to compile, at most ${regexSizeMax}`;
    throw problemAt(text, range, message);
  }
  if (context.regexSize > context.regexSizeHere) throw new RegexElsewhere();
  try {
    context.regexes.get(pattern);
  } catch (error) {
    if (!(error instanceof SpoorError)) throw error;
    throw problemAt(text, range, error.message);
  }
}

function findProblem(op: ComparisonOp, left: Checked, right: Checked): string | undefined {
  if (left.type === "nil" || right.type === "nil") return findNilProblem(op, left, right);
  if (op === "=~" || op === "!~") {
    const isText = left.type === "string" || left.type === "any";
    return isText ? undefined : `${illegal}: ${op} needs a string on its left`;
  }
  const isMixed = left.type !== right.type && left.type !== "any" && right.type !== "any";
  if (isMixed && !(isNumeric(left.type) && isNumeric(right.type))) {
    const types = `${left.type} and ${right.type}`;
    return `binary operations must operate on the same type, not ${types}`;
  }
  const isOrder = op !== "=" && op !== "!=";
  const unordered = [left.type, right.type].find((type) =>
    ["bool", "status", "kind"].includes(type),
  );
  if (isOrder && unordered !== undefined)
    return `${illegal}: ${op} has no meaning for ${unordered}`;
  return undefined;
}

function findNilProblem(op: ComparisonOp, left: Checked, right: Checked): string | undefined {
  if (op !== "=" && op !== "!=") return `${illegal}: nil has only = and !=`;
  if (op === "!=") return undefined;
  for (const { expr } of [left, right]) {
    if (expr.kind === "intrinsic") return "not valid because intrinsics cannot be nil";
    const isService =
      expr.kind === "attribute" && expr.scope === "resource" && expr.name === "service.name";
    if (isService) return "not valid because resource.service.name cannot be nil";
  }
  return undefined;
}
