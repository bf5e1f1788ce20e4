/** Folds constant expressions. */
import { exactDuration, floatResult } from "./arithmetic.ts";
import type { ArithmeticOp, ComparisonOp, Static } from "./ast.ts";
import { int64Max, int64Min, type Literal, type NumberStatic } from "./literals.ts";
import type { RegexCache } from "./regex.ts";

export function isNumber(value: Static): value is NumberStatic {
  return value.type === "int" || value.type === "float" || value.type === "duration";
}

/**
 * Computes `left op right`. Returns undefined if the result has no literal (1.0 / 0 is infinite).
 * Integers stay integers, durations stay durations if the result is exact, and all other results
 * are floats.
 */
export function foldArithmetic(
  op: ArithmeticOp,
  left: NumberStatic,
  right: NumberStatic,
): Literal<NumberStatic> | undefined {
  if (left.type === "int" && right.type === "int") return foldInts(op, left.value, right.value);
  const nanos = exactDuration(op, left, right);
  if (nanos !== undefined) return fits("duration", nanos);
  const value = floatResult(op, Number(left.value), Number(right.value));
  return Number.isFinite(value) ? { value: { type: "float", value } } : undefined;
}

function foldInts(op: ArithmeticOp, left: bigint, right: bigint): Literal<NumberStatic> {
  const isDivided = op === "/" || op === "%" || (op === "^" && left === 0n && right < 0n);
  if (isDivided && (op === "^" || right === 0n)) return { problem: "division by zero" };
  switch (op) {
    case "+":
      return fits("int", left + right);
    case "-":
      return fits("int", left - right);
    case "*":
      return fits("int", left * right);
    case "/":
      return fits("int", left / right);
    case "%":
      return fits("int", left % right);
    default:
      return fits("int", powerOf(left, right));
  }
}

/** Computes a power, rounded towards zero; returns 2^63, which does not fit, if it is too large. */
function powerOf(base: bigint, exponent: bigint): bigint {
  const isUnit = base === 0n || base === 1n || base === -1n;
  if (isUnit) return exponent % 2n === 0n ? (exponent === 0n ? 1n : base * base) : base;
  if (exponent < 0n) return 0n;
  return exponent > 64n ? int64Max + 1n : base ** exponent;
}

export function foldNegation(operand: NumberStatic): Literal<NumberStatic> {
  if (operand.type === "float") return { value: { type: "float", value: -operand.value } };
  return fits(operand.type, -operand.value);
}

function fits(type: "int" | "duration", value: bigint): Literal<NumberStatic> {
  // The least duration has no literal: the number after its sign does not fit.
  const min = type === "int" ? int64Min : int64Min + 1n;
  if (value > int64Max || value < min) return { problem: "the result does not fit in 64 bits" };
  return { value: { type, value } };
}

/** Returns whether `left op right` holds. The caller has checked the types. */
export function foldComparison(
  regexes: RegexCache,
  op: ComparisonOp,
  left: Static,
  right: Static,
): boolean {
  if (left.type === "nil" || right.type === "nil") {
    return op === "!=" && left.type !== right.type;
  }
  if (op === "=~" || op === "!~") {
    return regexes.get(String(right.value)).matches(String(left.value)) === (op === "=~");
  }
  const order = orderOf(left, right);
  switch (op) {
    case "=":
      return order === 0;
    case "!=":
      return order !== 0;
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    default:
      return order >= 0;
  }
}

/** Compares two literals: negative, zero or positive; 1 for unequal values without an order. */
function orderOf(left: Static, right: Static): number {
  if (isNumber(left) && isNumber(right)) {
    // JavaScript compares integers of any size with floats exactly.
    if (left.value === right.value) return 0;
    return left.value < right.value ? -1 : left.value > right.value ? 1 : 0;
  }
  if (left.type === "string" && right.type === "string") {
    return compareBytes(left.value, right.value);
  }
  return left.type !== "nil" && right.type !== "nil" && left.value === right.value ? 0 : 1;
}

/** Compares by UTF-8 bytes, which is the order of code points. */
function compareBytes(left: string, right: string): number {
  let at = 0;
  while (at < left.length && left[at] === right[at]) at++;
  if (at === left.length || at === right.length) return left.length - right.length;
  // Surrogates encode code points above all other units.
  const rank = (unit: number): number => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit);
  return rank(left.charCodeAt(at)) - rank(right.charCodeAt(at));
}
