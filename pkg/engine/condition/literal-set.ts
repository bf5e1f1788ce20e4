/** Comparison of a value with a set of literals. */
import type { ComparisonOp, LiteralSet } from "#pkg/traceql/traceql.ts";
import type { Predicate } from "./predicate.ts";
import { normalizeId, type Value } from "./values.ts";

/** Returns the predicate of a set: equal to a chain of `=` and `||`, or of `!=` and `&&`. */
export function setComparison(op: ComparisonOp, { values }: LiteralSet, isId: boolean): Predicate {
  const members = new Members(isId ? values.map((value) => normalizeId(value)) : values);
  const test = (item: Value): boolean =>
    members.isComparable(item) && members.has(item) === (op === "=");
  return {
    value: (given) => {
      const value = isId ? normalizeId(given) : given;
      if (value.type !== "array") return test(value);
      return op === "=" ? value.values.some(test) : value.values.every(test);
    },
  };
}

/** The literals. Numbers are equal across types: an integral double is stored as an integer. */
class Members {
  readonly #type: string;
  readonly #values = new Set<string | number | bigint | boolean>();

  constructor(values: readonly Value[]) {
    this.#type = sortOf(values[0]);
    for (const value of values) {
      if (value.type !== "array" && value.type !== "other") this.#values.add(keyOf(value.value));
    }
  }

  /** Returns whether the value has the literals' type; `=` and `!=` are false for other types. */
  isComparable(value: Value): boolean {
    return sortOf(value) === this.#type;
  }

  has(value: Value): boolean {
    if (value.type === "array" || value.type === "other") return false;
    return !Number.isNaN(value.value) && this.#values.has(keyOf(value.value));
  }
}

function sortOf({ type }: Value): string {
  return type === "int" || type === "float" || type === "duration" ? "number" : type;
}

function keyOf(value: string | number | bigint | boolean): string | number | bigint | boolean {
  return typeof value === "number" && Number.isInteger(value) ? BigInt(value) : value;
}
