// HOT: runs per row of every search with a condition; measured by filter.bench.ts.
/**
 * Evaluates the condition of a spanset filter over a batch of spans.
 *
 * A selection is a mask, one byte per row. `&&` and `||` evaluate their next side only for the rows
 * that are still undecided. `&&` evaluates cheap sides first, unless that could hide an error.
 *
 * - A comparison of a name with a literal is evaluated over columns (row-values.ts).
 * - A comparison of computed numbers is evaluated over columns of doubles (number-rows.ts).
 * - All other conditions are evaluated row by row (filter-rows.ts).
 *
 * Events and links: a comparison, or a bare attribute, holds for a span if it holds for any of its
 * events (links). `= nil` holds if no event has a value. Within one comparison, all names refer to
 * the same event.
 */
import { Arena } from "#pkg/bytes/bytes.ts";
import type { ColumnBatch } from "#pkg/columns/columns.ts";
import type { FieldExpr, IntrinsicName, Reference } from "#pkg/traceql/traceql.ts";
import { RowEvaluator } from "./filter-rows.ts";
import { isOfWholeTrace } from "./intrinsics.ts";
import { compareRows, NumberColumns } from "./number-rows.ts";
import { setComparison } from "./literal-set.ts";
import {
  comparisonWith,
  exists,
  idComparisonWith,
  isFalse,
  isTrue,
  mirrored,
  type Predicate,
} from "./predicate.ts";
import { subtractRows, uniteRows } from "./passes.ts";
import { isId, type LocateKey, referenceColumns } from "./references.ts";
import { conjunctsOf, mayFail } from "./span-part.ts";
import type { OrderOp } from "./values.ts";

/** Returns the names of the columns that evaluating the condition reads. */
export function filterColumns(expr: FieldExpr, locate?: LocateKey): string[] {
  const names = referencesOf(expr).flatMap((reference) => referenceColumns(reference, locate));
  return [...new Set(names)];
}

/** As `filterColumns`, without the columns for values of whole traces. */
export function spanColumnsOf(expr: FieldExpr, locate: LocateKey): string[] {
  const ofSpans = referencesOf(expr).filter(
    (one) => one.kind === "attribute" || !isOfWholeTrace(one.name),
  );
  return [...new Set(ofSpans.flatMap((one) => referenceColumns(one, locate)))];
}

/** Returns the attributes and intrinsics that the condition names, in the order of the text. */
export function referencesOf(expr: FieldExpr): Reference[] {
  switch (expr.kind) {
    case "static":
    case "set":
      return [];
    case "attribute":
    case "intrinsic":
      return [expr];
    case "not":
    case "negate":
      return referencesOf(expr.operand);
    default:
      return [...referencesOf(expr.left), ...referencesOf(expr.right)];
  }
}

/** Returns the intrinsics that the condition names. */
export function intrinsicNames(filter: FieldExpr): IntrinsicName[] {
  return referencesOf(filter).flatMap((one) => (one.kind === "intrinsic" ? one.name : []));
}

/**
 * Returns 1 for each row that matches the condition, 0 for the others.
 *
 * @param selection Rows to evaluate, 1 or 0 each; undefined: all.
 * @param arena Allocates the result and temporary masks; they are valid until its next `reset`.
 *
 * Throws InvalidInput if the values make the condition impossible to evaluate (an integer divided
 * by zero, `!` of a value that is not a boolean, two arrays compared). Names of values of whole
 * traces need a batch of `withTraceColumns`.
 */
export function evaluateFilter(
  batch: ColumnBatch,
  expr: FieldExpr,
  selection?: Uint8Array,
  arena: Arena = new Arena(),
): Uint8Array {
  const rows = selection ?? arena.uint8(batch.rows).fill(1);
  return new Evaluation(batch, arena).run(expr, rows);
}

class Evaluation {
  readonly #rows: RowEvaluator;
  readonly #numbers: NumberColumns;
  readonly #arena: Arena;

  constructor(batch: ColumnBatch, arena: Arena) {
    const rows = new RowEvaluator(batch, arena);
    this.#rows = rows;
    this.#numbers = new NumberColumns(batch.rows, (name) => rows.layers(name), arena);
    this.#arena = arena;
  }

  /** Returns the rows of the selection that match the expression. */
  run(expr: FieldExpr, selection: Uint8Array): Uint8Array {
    switch (expr.kind) {
      case "static": {
        const isAll = expr.static.type === "bool" && expr.static.value;
        return isAll ? selection : this.#noRows(selection.length);
      }
      case "logical": {
        if (expr.op === "&&") return this.#and(expr, selection);
        const left = this.run(expr.left, selection);
        const rest = this.run(expr.right, this.#difference(selection, left));
        return this.#union(left, rest);
      }
      case "not":
        return this.#not(expr, selection);
      case "attribute":
      case "intrinsic":
        return this.#ask(expr, isTrue, selection);
      case "comparison":
        return this.#comparison(expr, selection);
      default:
        return this.#noRows(selection.length);
    }
  }

  #and(expr: FieldExpr, selection: Uint8Array): Uint8Array {
    let left = selection;
    for (const one of cheapestFirst(conjunctsOf(expr))) {
      if (!left.includes(1)) return left;
      left = this.run(one, left);
    }
    return left;
  }

  #not(expr: Extract<FieldExpr, { kind: "not" }>, selection: Uint8Array): Uint8Array {
    const { operand } = expr;
    if (operand.kind === "comparison" || operand.kind === "logical") {
      return this.#difference(selection, this.run(operand, selection));
    }
    if (operand.kind === "attribute" && operand.scope !== "any") {
      const isSingle = operand.scope !== "event" && operand.scope !== "link";
      if (isSingle) return this.#ask(operand, isFalse, selection);
    }
    return this.#byRow(expr, selection);
  }

  #comparison(expr: Extract<FieldExpr, { kind: "comparison" }>, selection: Uint8Array): Uint8Array {
    const { left, right } = expr;
    const isLeft = isReference(left);
    const reference = isLeft ? left : right;
    const literal = isLeft ? right : left;
    const op = isLeft ? expr.op : mirrored(expr.op);
    if (isReference(left) && right.kind === "set") {
      return this.#ask(left, setComparison(expr.op, right, isId(left)), selection);
    }
    const isRegex = op === "=~" || op === "!~";
    if (this.#numbers.isNumeric(expr)) return this.#compareNumbers(expr, selection);
    if (!isReference(reference) || literal.kind !== "static" || (isRegex && !isLeft)) {
      return this.#byRow(expr, selection);
    }
    if (literal.static.type === "nil") {
      const present = this.#ask(reference, exists, selection);
      return op === "!=" ? present : this.#difference(selection, present);
    }
    const predicate = isId(reference)
      ? idComparisonWith(op, literal.static)
      : comparisonWith(op, literal.static, literal.regex);
    return this.#ask(reference, predicate, selection);
  }

  #ask(reference: Reference, predicate: Predicate, selection: Uint8Array): Uint8Array {
    const pending = this.#arena.uint8(selection.length);
    pending.set(selection);
    const pass = { pending, hits: this.#noRows(selection.length) };
    for (const { values } of this.#rows.layers(reference)) values.test(predicate, pass);
    return pass.hits;
  }

  /** Compares numbers as columns; rows that doubles cannot decide are evaluated one by one. */
  #compareNumbers(
    expr: Extract<FieldExpr, { kind: "comparison" }>,
    selection: Uint8Array,
  ): Uint8Array {
    const a = this.#numbers.valuesOf(expr.left, selection);
    const b = this.#numbers.valuesOf(expr.right, selection);
    const hits = this.#noRows(selection.length);
    const left = this.#noRows(selection.length);
    compareRows(expr.op as OrderOp, { a, b, selection }, { hits, left });
    return left.includes(1) ? this.#union(hits, this.#byRow(expr, left)) : hits;
  }

  #byRow(expr: FieldExpr, selection: Uint8Array): Uint8Array {
    const hits = this.#noRows(selection.length);
    for (let row = 0; row < selection.length; row++) {
      if (selection[row] === 1 && this.#rows.holds(expr, row)) hits[row] = 1;
    }
    return hits;
  }

  #noRows(length: number): Uint8Array {
    return this.#arena.uint8(length).fill(0);
  }

  #union(a: Uint8Array, b: Uint8Array): Uint8Array {
    const out = this.#arena.uint8(a.length);
    uniteRows(a, b, out);
    return out;
  }

  /** Returns the rows of `a` that are not in `b`. */
  #difference(a: Uint8Array, b: Uint8Array): Uint8Array {
    const out = this.#arena.uint8(a.length);
    subtractRows(a, b, out);
    return out;
  }
}

/**
 * Returns the conditions in the order of evaluation, cheapest first. If one may fail, all keep
 * their order: the conditions before it decide which rows reach it.
 */
export function cheapestFirst(conjuncts: readonly FieldExpr[]): readonly FieldExpr[] {
  if (conjuncts.some((one) => mayFail(one))) return conjuncts;
  return conjuncts.toSorted((a, b) => costOf(a) - costOf(b));
}

/** Estimates the work per row; 1 is a look-up by dictionary code. */
function costOf(expr: FieldExpr): number {
  switch (expr.kind) {
    case "static":
    case "set":
      return 0;
    case "intrinsic":
      return expr.name.startsWith("event:") || expr.name.startsWith("link:") ? 6 : 1;
    case "attribute":
      return expr.scope === "span" || expr.scope === "resource" ? 1 : 6;
    case "not":
    case "negate":
      return costOf(expr.operand);
    case "comparison": {
      const sides = costOf(expr.left) + costOf(expr.right);
      return expr.op === "=~" || expr.op === "!~" ? sides + 2 : sides;
    }
    default:
      return costOf(expr.left) + costOf(expr.right);
  }
}

function isReference(expr: FieldExpr): expr is Reference {
  return expr.kind === "attribute" || expr.kind === "intrinsic";
}
