/**
 * A predicate on one value. Besides `value`, which works for any value, it can have forms that
 * columns test faster: a range for 64-bit integers, bytes or a pattern for text. These forms are
 * equivalent to `value`.
 */
import type { ComparisonOp, Static } from "#pkg/traceql/traceql.ts";
import { compileRegex, type Regex } from "#pkg/traceql/regex.ts";
import type { TextPattern } from "./text-match.ts";
import { compareValues, matchValue, normalizeId, requireBool, type Value } from "./values.ts";

/** Integers from `min` to `max`, or all others. Empty if `min` is greater. */
export interface IntRange {
  min: bigint;
  max: bigint;
  isInside: boolean;
}

export interface Predicate {
  value(value: Value): boolean;
  /** The integers (and durations) that satisfy it. */
  ints?: IntRange;
  /** Texts that satisfy it: those with exactly these UTF-8 bytes, or all others. */
  text?: { bytes: Uint8Array; isEqual: boolean };
  /** Texts that satisfy it: those that the pattern matches, or all others. */
  pattern?: { pattern: TextPattern; isMatch: boolean };
}

export const int64Min: bigint = -(2n ** 63n);
export const int64Max: bigint = 2n ** 63n - 1n;
const noInts: IntRange = { min: 1n, max: 0n, isInside: true };

/** True for any value. */
export const exists: Predicate = {
  value: () => true,
  ints: { min: int64Min, max: int64Max, isInside: true },
};

/** True for boolean true: the meaning of a bare attribute. */
export const isTrue: Predicate = {
  value: (value) => value.type === "bool" && value.value,
  ints: noInts,
};

/** The meaning of `!` before a bare attribute. Throws InvalidInput for values of other types. */
export const isFalse: Predicate = { value: (value) => !requireBool(value) };

/**
 * Returns the predicate `value op literal`; false for a nil literal. The literal of a regex is a
 * string.
 *
 * @param regex The compiled literal, if there is one.
 */
export function comparisonWith(op: ComparisonOp, literal: Static, regex?: Regex): Predicate {
  if (literal.type === "nil") return { value: () => false, ints: noInts };
  if (op === "=~" || op === "!~") {
    const matcher = regex ?? compileRegex(String(literal.value));
    return {
      value: (value) => matchValue(op, value, matcher),
      ints: noInts,
      pattern: { pattern: matcher, isMatch: op === "=~" },
    };
  }
  const out: Predicate = {
    value: (value) => compareValues(op, value, literal),
    ints: intsOf(op, literal),
  };
  if (literal.type === "string" && (op === "=" || op === "!=")) {
    out.text = { bytes: Buffer.from(literal.value), isEqual: op === "=" };
  }
  return out;
}

/** Returns the predicate `id op literal`; = and != ignore case and leading zeros. */
export function idComparisonWith(op: ComparisonOp, literal: Static): Predicate {
  if ((op !== "=" && op !== "!=") || literal.type !== "string") return comparisonWith(op, literal);
  const wanted = normalizeId(literal);
  return { value: (value) => compareValues(op, normalizeId(value), wanted), ints: noInts };
}

/** Returns the operator for swapped operands: `1 < .a` is `.a > 1`. */
export function mirrored(op: ComparisonOp): ComparisonOp {
  const mirror: Partial<Record<ComparisonOp, ComparisonOp>> = {
    "<": ">",
    "<=": ">=",
    ">": "<",
    ">=": "<=",
  };
  return mirror[op] ?? op;
}

function intsOf(op: ComparisonOp, literal: Static): IntRange {
  const isNumber =
    literal.type === "int" || literal.type === "duration" || literal.type === "float";
  if (!isNumber || Number.isNaN(literal.value)) {
    const isUnequal = isNumber && op === "!=";
    return isUnequal ? { ...noInts, isInside: false } : noInts;
  }
  // The greatest integer at or below the literal, and the least at or above it.
  const below = typeof literal.value === "bigint" ? literal.value : floor(literal.value);
  const above = typeof literal.value === "bigint" ? literal.value : -floor(-literal.value);
  switch (op) {
    case "=":
      return { min: above, max: below, isInside: true };
    case "!=":
      return { min: above, max: below, isInside: false };
    case "<":
      return { min: int64Min, max: above - 1n, isInside: true };
    case "<=":
      return { min: int64Min, max: below, isInside: true };
    case ">":
      return { min: below + 1n, max: int64Max, isInside: true };
    default:
      return { min: above, max: int64Max, isInside: true };
  }
}

/** Rounds down; infinite numbers become integers beyond 64 bits. */
function floor(value: number): bigint {
  if (value === Number.POSITIVE_INFINITY) return 2n ** 70n;
  if (value === Number.NEGATIVE_INFINITY) return -(2n ** 70n);
  return BigInt(Math.floor(value));
}
