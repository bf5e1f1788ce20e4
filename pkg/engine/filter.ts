// HOT: runs per row of every search with a condition.
/**
 * Evaluates the condition of a spanset filter over a batch of spans.
 *
 * A selection is a mask, one byte per row. `&&` and `||` hand down to their right side only the
 * rows that it decides, so that a row is asked from left to right as in a plain evaluation. A
 * comparison of a name with a literal is asked of columns (row-values.ts); all else is evaluated
 * row by row (filter-rows.ts).
 *
 * Events and links: a comparison, or a bare attribute, holds for a span if it holds for any of its
 * events (links); `= nil` if none has a value. Within one comparison all names mean the same event.
 */
import type { ColumnBatch } from "#pkg/columns/columns.ts";
import type { FieldExpr, Reference } from "#pkg/traceql/ast.ts";
import { RowEvaluator } from "./filter-rows.ts";
import {
  comparisonWith,
  exists,
  idComparisonWith,
  isFalse,
  isTrue,
  mirrored,
  type Predicate,
} from "./predicate.ts";
import { isId, referenceColumns } from "./references.ts";

/** Names of the columns that evaluating the condition reads. */
export function filterColumns(expr: FieldExpr): string[] {
  return [...new Set(referencesOf(expr).flatMap((reference) => referenceColumns(reference)))];
}

/** The attributes and intrinsics that the condition names, in the order of the text. */
export function referencesOf(expr: FieldExpr): Reference[] {
  switch (expr.kind) {
    case "static":
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

/**
 * 1 for each row that satisfies the condition, 0 for the others.
 *
 * @param selection rows to look at, 1 or 0 each; undefined: all.
 *
 * Throws InvalidInput for what cannot be evaluated with these values (an integer divided by zero,
 * `!` of what is no boolean, two arrays compared) and for names that are not supported yet.
 */
export function evaluateFilter(
  batch: ColumnBatch,
  expr: FieldExpr,
  selection?: Uint8Array,
): Uint8Array {
  return new Evaluation(batch).run(expr, selection ?? new Uint8Array(batch.rows).fill(1));
}

class Evaluation {
  readonly #rows: RowEvaluator;

  constructor(batch: ColumnBatch) {
    this.#rows = new RowEvaluator(batch);
  }

  /** The rows of the selection that satisfy the expression. */
  run(expr: FieldExpr, selection: Uint8Array): Uint8Array {
    switch (expr.kind) {
      case "static": {
        const isAll = expr.static.type === "bool" && expr.static.value;
        return isAll ? selection : new Uint8Array(selection.length);
      }
      case "logical": {
        const left = this.run(expr.left, selection);
        if (expr.op === "&&") return this.run(expr.right, left);
        return union(left, this.run(expr.right, difference(selection, left)));
      }
      case "not":
        return this.#not(expr, selection);
      case "attribute":
      case "intrinsic":
        return this.#ask(expr, isTrue, selection);
      case "comparison":
        return this.#comparison(expr, selection);
      default:
        return new Uint8Array(selection.length);
    }
  }

  #not(expr: Extract<FieldExpr, { kind: "not" }>, selection: Uint8Array): Uint8Array {
    const { operand } = expr;
    if (operand.kind === "comparison" || operand.kind === "logical") {
      return difference(selection, this.run(operand, selection));
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
    const isRegex = op === "=~" || op === "!~";
    if (!isReference(reference) || literal.kind !== "static" || (isRegex && !isLeft)) {
      return this.#byRow(expr, selection);
    }
    if (literal.static.type === "nil") {
      const present = this.#ask(reference, exists, selection);
      return op === "!=" ? present : difference(selection, present);
    }
    const predicate = isId(reference)
      ? idComparisonWith(op, literal.static)
      : comparisonWith(op, literal.static);
    return this.#ask(reference, predicate, selection);
  }

  #ask(reference: Reference, predicate: Predicate, selection: Uint8Array): Uint8Array {
    const pass = { pending: selection.slice(), hits: new Uint8Array(selection.length) };
    for (const { values } of this.#rows.layers(reference)) values.test(predicate, pass);
    return pass.hits;
  }

  #byRow(expr: FieldExpr, selection: Uint8Array): Uint8Array {
    const hits = new Uint8Array(selection.length);
    for (let row = 0; row < selection.length; row++) {
      if (selection[row] === 1 && this.#rows.holds(expr, row)) hits[row] = 1;
    }
    return hits;
  }
}

function isReference(expr: FieldExpr): expr is Reference {
  return expr.kind === "attribute" || expr.kind === "intrinsic";
}

function union(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = a.slice();
  for (let row = 0; row < b.length; row++) out[row] |= b[row];
  return out;
}

/** Rows of `a` that are not in `b`. */
function difference(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = a.slice();
  for (let row = 0; row < b.length; row++) out[row] &= ~b[row];
  return out;
}
