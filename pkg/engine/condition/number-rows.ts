// HOT: runs per row of every condition with arithmetic; measured by filter.bench.ts.
/**
 * Arithmetic on whole columns: the numbers of all rows as doubles, with the kind of each.
 *
 * A double holds integers and durations exactly up to 2^53. A row is `unsure` if its value or
 * result is larger, or could be an error (an array, a division by zero, a power of integers). Such
 * a row is evaluated alone (filter-rows.ts), which decides it or throws. values.ts defines the
 * rules.
 */
import type { Arena } from "#pkg/bytes/bytes.ts";
import { floatResult } from "#pkg/traceql/arithmetic.ts";
import type { ArithmeticOp, FieldExpr, Reference } from "#pkg/traceql/traceql.ts";
import { type NumberRows, numberKinds } from "./number-values.ts";
import type { Layer } from "./references.ts";
import type { OrderOp } from "./values.ts";

const { none, int, duration, float, unsure } = numberKinds;

/** Opens the values of a name in the batch. */
export type OpenLayers = (reference: Reference) => readonly Layer[];

/** Numbers of the rows of one batch. Arrays are valid until the arena's next `reset`. */
export class NumberColumns {
  readonly #rows: number;
  readonly #layers: OpenLayers;
  readonly #arena: Arena;

  constructor(rows: number, layers: OpenLayers, arena: Arena) {
    this.#rows = rows;
    this.#layers = layers;
    this.#arena = arena;
  }

  /** Returns whether both sides may be numbers and at least one of them is computed. */
  isNumeric({ op, left, right }: Extract<FieldExpr, { kind: "comparison" }>): boolean {
    if (op === "=~" || op === "!~") return false;
    return (isComputed(left) || isComputed(right)) && this.#isNumber(left) && this.#isNumber(right);
  }

  /** Returns the numbers of the selected rows; values of other rows are undefined. */
  valuesOf(expr: FieldExpr, selection: Uint8Array): NumberRows {
    switch (expr.kind) {
      case "static":
        return this.#constant(expr);
      case "negate": {
        const operand = this.valuesOf(expr.operand, selection);
        const out = this.#new();
        negateRows(operand, out);
        return out;
      }
      case "arithmetic": {
        const left = this.valuesOf(expr.left, selection);
        const right = this.valuesOf(expr.right, selection);
        const out = this.#new();
        calculateRows(expr.op, left, right, out);
        return out;
      }
      default:
        return this.#read(expr as Reference, selection);
    }
  }

  #isNumber(expr: FieldExpr): boolean {
    switch (expr.kind) {
      case "static": {
        const { type } = expr.static;
        return type === "int" || type === "float" || type === "duration";
      }
      case "negate":
        return this.#isNumber(expr.operand);
      case "arithmetic":
        return this.#isNumber(expr.left) && this.#isNumber(expr.right);
      case "attribute":
      case "intrinsic":
        return this.#layers(expr).every(({ axis }) => axis === undefined);
      default:
        return false;
    }
  }

  #constant({ static: literal }: Extract<FieldExpr, { kind: "static" }>): NumberRows {
    const out = this.#new();
    const value = Number((literal as { value: bigint | number }).value);
    const isExact = literal.type === "float" || Number.isSafeInteger(value);
    out.values.fill(value);
    out.kinds.fill(isExact ? numberKinds[literal.type as "int"] : unsure);
    return out;
  }

  #read(reference: Reference, selection: Uint8Array): NumberRows {
    const out = this.#new();
    out.kinds.fill(none);
    const pending = this.#arena.uint8(this.#rows);
    pending.set(selection);
    for (const { values, axis } of this.#layers(reference)) {
      if (axis === undefined) values.numbers(pending, out);
    }
    return out;
  }

  #new(): NumberRows {
    return { values: this.#arena.float64(this.#rows), kinds: this.#arena.uint8(this.#rows) };
  }
}

function isComputed({ kind }: FieldExpr): boolean {
  return kind === "arithmetic" || kind === "negate";
}

/**
 * Compares two columns of numbers in the selected rows. Sets `hits` for rows that match, and `left`
 * for rows that must be evaluated one by one. The caller passes both filled with 0.
 */
export function compareRows(
  op: OrderOp,
  { a, b, selection }: { a: NumberRows; b: NumberRows; selection: Uint8Array },
  { hits, left }: { hits: Uint8Array; left: Uint8Array },
): void {
  const holds = comparisonOf(op);
  for (let row = 0; row < selection.length; row++) {
    if (selection[row] === 0) continue;
    const kindA = a.kinds[row];
    const kindB = b.kinds[row];
    if (kindA === unsure || kindB === unsure) left[row] = 1;
    else if (kindA !== none && kindB !== none && holds(a.values[row], b.values[row])) hits[row] = 1;
  }
}

function comparisonOf(op: OrderOp): (a: number, b: number) => boolean {
  switch (op) {
    case "=":
      return (a, b) => a === b;
    case "!=":
      return (a, b) => a !== b;
    case "<":
      return (a, b) => a < b;
    case "<=":
      return (a, b) => a <= b;
    case ">":
      return (a, b) => a > b;
    default:
      return (a, b) => a >= b;
  }
}

function negateRows({ values, kinds }: NumberRows, out: NumberRows): void {
  out.kinds.set(kinds);
  for (let row = 0; row < values.length; row++) {
    // Integers have no negative zero.
    out.values[row] = kinds[row] === float ? -values[row] : 0 - values[row];
  }
}

function calculateRows(op: ArithmeticOp, a: NumberRows, b: NumberRows, out: NumberRows): void {
  for (let row = 0; row < out.kinds.length; row++) {
    const kindA = a.kinds[row];
    const kindB = b.kinds[row];
    let kind: number = unsure;
    let value = 0;
    if (kindA !== unsure && kindB !== unsure) {
      if (kindA === none || kindB === none) kind = none;
      else {
        kind = kindOf(op, kindA, kindB, a.values[row], b.values[row]);
        if (kind !== unsure) value = resultOf(op, kind, a.values[row], b.values[row]);
        if (kind !== float && !Number.isSafeInteger(value)) kind = unsure;
      }
    }
    out.kinds[row] = kind;
    out.values[row] = value;
  }
}

/** Returns the kind of a result; `unsure` if it could be an error or exceed a double. */
function kindOf(op: ArithmeticOp, kindA: number, kindB: number, a: number, b: number): number {
  if (kindA === float || kindB === float) return float;
  if (kindA === int && kindB === int) {
    if (op === "^" || ((op === "/" || op === "%") && b === 0)) return unsure;
    return int;
  }
  if (kindA === duration && kindB === duration) return op === "+" || op === "-" ? duration : float;
  if (op === "*") return duration;
  return op === "/" && kindA === duration && b !== 0 && a % b === 0 ? duration : float;
}

function resultOf(op: ArithmeticOp, kind: number, a: number, b: number): number {
  const result = floatResult(op, a, b);
  if (kind === float) return result;
  // Below 2^53 a quotient is never rounded across an integer. Integers have no negative zero.
  return (kind === int && op === "/" ? Math.trunc(result) : result) + 0;
}
