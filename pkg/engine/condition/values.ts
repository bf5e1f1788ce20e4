/**
 * Values of TraceQL at run time, and its operators. A missing value is undefined ("nil"): a
 * comparison with nil is false, and a calculation with nil is nil. If types do not fit the
 * operator, a comparison is false and a calculation is nil. Only a few combinations throw, as
 * documented per function.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { AnyValue, KeyValue } from "#pkg/otlp/otlp.ts";
import { exactDuration, floatResult } from "#pkg/traceql/arithmetic.ts";
import type { ArithmeticOp, ComparisonOp, Static } from "#pkg/traceql/traceql.ts";

export type Scalar = Exclude<Static, { type: "nil" }>;

/**
 * `other` stands for key-value lists, bytes and empty values. They are not nil and equal nothing.
 */
export type Value = Scalar | { type: "array"; values: Value[] } | { type: "other" };

/** Matches the whole of a text. */
export interface Matcher {
  matches(text: string): boolean;
}

export type OrderOp = Exclude<ComparisonOp, "=~" | "!~">;

const otherValue: Value = { type: "other" };

export function valueOf(value: AnyValue): Value {
  switch (value.kind) {
    case "string":
      return { type: "string", value: value.value };
    case "int":
      return { type: "int", value: value.value };
    case "double":
      return { type: "float", value: value.value };
    case "bool":
      return { type: "bool", value: value.value };
    case "array":
      return { type: "array", values: value.values.map((item) => valueOf(item)) };
    default:
      return otherValue;
  }
}

/** Returns the last value of a key in a list of attributes; undefined if there is none. */
export function valueOfKey(attributes: readonly KeyValue[], key: string): Value | undefined {
  const last = attributes.findLast((attribute) => attribute.key === key);
  return last === undefined ? undefined : valueOf(last.value);
}

/** Evaluates `left op right`; neither is nil. Throws InvalidInput for two arrays. */
export function compareValues(op: OrderOp, left: Value, right: Value): boolean {
  if (left.type === "array") {
    if (right.type === "array") throw arrayError(op, "array");
    const test = (item: Value): boolean => compareScalars(op, item, right);
    return op === "!=" ? left.values.every(test) : left.values.some(test);
  }
  if (right.type === "array") {
    const test = (item: Value): boolean => compareScalars(op, left, item);
    return op === "!=" ? right.values.every(test) : right.values.some(test);
  }
  return compareScalars(op, left, right);
}

function compareScalars(op: OrderOp, left: Value, right: Value): boolean {
  if (isNumber(left) && isNumber(right)) return holdsForNumbers(op, left.value, right.value);
  if (left.type === "string" && right.type === "string") {
    if (op === "=") return left.value === right.value;
    if (op === "!=") return left.value !== right.value;
    return holds(op, compareText(left.value, right.value));
  }
  if (left.type !== right.type || left.type === "array" || left.type === "other") return false;
  const isSame = left.value === (right as Scalar).value;
  return op === "=" ? isSame : op === "!=" && !isSame;
}

type NumberValue = Extract<Value, { type: "int" | "float" | "duration" }>;

function isNumber(value: Value): value is NumberValue {
  return value.type === "int" || value.type === "float" || value.type === "duration";
}

/** Compares numbers. JavaScript compares bigints of any size with doubles exactly. */
function holdsForNumbers(op: OrderOp, left: bigint | number, right: bigint | number): boolean {
  switch (op) {
    case "=":
      // oxlint-disable-next-line eqeqeq -- an integer and a double with the same value are equal
      return left == right;
    case "!=":
      // oxlint-disable-next-line eqeqeq -- as above
      return left != right;
    case "<":
      return left < right;
    case "<=":
      return left <= right;
    case ">":
      return left > right;
    default:
      return left >= right;
  }
}

function holds(op: OrderOp, order: number): boolean {
  switch (op) {
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

/** Compares two texts by their UTF-8 bytes. */
export function compareText(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

/** Evaluates `left =~ pattern` or `left !~ pattern`. */
export function matchValue(op: "=~" | "!~", left: Value, matcher: Matcher): boolean {
  if (left.type === "array") {
    const test = (item: Value): boolean => item.type !== "array" && matchValue(op, item, matcher);
    return op === "!~" ? left.values.every(test) : left.values.some(test);
  }
  return left.type === "string" && matcher.matches(left.value) === (op === "=~");
}

/** Normalizes an id given as hex text, because comparisons ignore case and leading zeros. */
export function normalizeId(value: Value): Value {
  if (value.type !== "string") return value;
  return { type: "string", value: value.value.toLowerCase().replace(/^0+/, "") };
}

/**
 * Evaluates `left op right`. The result of two integers is a 64-bit integer. Durations stay
 * durations where that is exact. All other results are doubles; nil if an operand is not a number.
 * Throws InvalidInput for arrays and for an integer divided by zero.
 */
export function calculate(op: ArithmeticOp, left: Value, right: Value): Value | undefined {
  if (left.type === "array" || right.type === "array") throw arrayError(op, "number");
  if (!isNumber(left) || !isNumber(right)) return undefined;
  if (left.type === "int" && right.type === "int") {
    return { type: "int", value: calculateInts(op, left.value, right.value) };
  }
  const nanos = exactDuration(op, left, right);
  if (nanos !== undefined) return { type: "duration", value: BigInt.asIntN(64, nanos) };
  return { type: "float", value: floatResult(op, Number(left.value), Number(right.value)) };
}

function calculateInts(op: ArithmeticOp, left: bigint, right: bigint): bigint {
  const isDivision = op === "/" || op === "%";
  if ((isDivision && right === 0n) || (op === "^" && left === 0n && right < 0n)) {
    throw queryError(`calculate ${left} ${op} ${right}: division by zero`);
  }
  switch (op) {
    case "+":
      return BigInt.asIntN(64, left + right);
    case "-":
      return BigInt.asIntN(64, left - right);
    case "*":
      return BigInt.asIntN(64, left * right);
    case "/":
      return BigInt.asIntN(64, left / right);
    case "%":
      return left % right;
    default:
      return powerOf(left, right);
  }
}

/** Returns the low 64 bits of a power, rounded towards zero. One step per bit of the exponent. */
function powerOf(base: bigint, exponent: bigint): bigint {
  if (exponent < 0n) {
    if (base !== 1n && base !== -1n) return 0n;
    return exponent % 2n === 0n ? 1n : base;
  }
  let out = 1n;
  let square = base;
  for (let left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) out = BigInt.asIntN(64, out * square);
    square = BigInt.asIntN(64, square * square);
  }
  return out;
}

/** Evaluates `-value`; nil for a value that is not a number. Throws InvalidInput for arrays. */
export function negateValue(value: Value): Value | undefined {
  if (value.type === "array") throw arrayError("-", "number");
  if (value.type === "float") return { type: "float", value: -value.value };
  if (!isNumber(value)) return undefined;
  return { type: value.type, value: BigInt.asIntN(64, -value.value) };
}

/** Returns the boolean operand of `!`. Throws InvalidInput for other types. */
export function requireBool(value: Value): boolean {
  if (value.type === "bool") return value.value;
  throw queryError(`negate a ${value.type} with !: it needs a boolean`);
}

function arrayError(op: string, other: string): SpoorError {
  return queryError(`apply ${op} to an array and ${other === "array" ? "an array" : "a number"}`);
}

function queryError(message: string): SpoorError {
  return new SpoorError("InvalidInput", `evaluate TraceQL: ${message}`, {
    reason: "traceql_value",
  });
}
