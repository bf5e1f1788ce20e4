/** Evaluates any condition row by row: for conditions that cannot be evaluated over columns. */
import { Arena } from "#pkg/bytes/bytes.ts";
import type { ColumnBatch } from "#pkg/columns/columns.ts";
import type { FieldExpr, LiteralSet, Reference, Static } from "#pkg/traceql/traceql.ts";
import { compileRegex } from "#pkg/traceql/regex.ts";
import { setComparison } from "./literal-set.ts";
import type { Predicate } from "./predicate.ts";
import { isId, type Layer, openReference } from "./references.ts";
import {
  calculate,
  compareValues,
  type Matcher,
  matchValue,
  negateValue,
  normalizeId,
  requireBool,
  type Value,
} from "./values.ts";

type Comparison = Extract<FieldExpr, { kind: "comparison" }>;

/** A row, and the event and link that the names of a comparison refer to; -1 if there are none. */
interface Binding {
  row: number;
  event: number;
  link: number;
}

export class RowEvaluator {
  readonly #batch: ColumnBatch;
  readonly #arena: Arena;
  readonly #layers = new Map<string, Layer[]>();
  readonly #names = new Map<FieldExpr, readonly Reference[]>();
  readonly #matchers = new Map<string, Matcher>();
  readonly #sets = new Map<Comparison, Predicate>();

  /** @param arena The caller must not reset it while the evaluator is in use. */
  constructor(batch: ColumnBatch, arena: Arena = new Arena()) {
    this.#batch = batch;
    this.#arena = arena;
  }

  /** Returns the values of a name in this batch; opens them on first use. */
  layers(reference: Reference): readonly Layer[] {
    const scope = reference.kind === "attribute" ? reference.scope : "intrinsic";
    const key = `${scope}\n${reference.name}`;
    let layers = this.#layers.get(key);
    if (layers === undefined) {
      layers = openReference(this.#batch, reference, this.#arena);
      this.#layers.set(key, layers);
    }
    return layers;
  }

  /** Returns whether the condition holds for the span in this row. */
  holds(expr: FieldExpr, row: number): boolean {
    return this.#truth(expr, row) === true;
  }

  /** Returns the span's first value of a name: that of the first event or link that has one. */
  firstValue(reference: Reference, row: number): Value | undefined {
    for (const binding of this.#bindings(reference, row)) {
      const value = this.#referenceValue(reference, binding);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** Evaluates a condition; undefined stands for nil. */
  #truth(expr: FieldExpr, row: number): boolean | undefined {
    switch (expr.kind) {
      case "static":
        return expr.static.type === "bool" ? expr.static.value : false;
      case "logical":
        if (expr.op === "&&") return this.holds(expr.left, row) && this.holds(expr.right, row);
        return this.holds(expr.left, row) || this.holds(expr.right, row);
      case "not": {
        const { operand } = expr;
        const isName = operand.kind === "attribute" || operand.kind === "intrinsic";
        const truth = isName ? this.#bool(operand, row) : this.#truth(operand, row);
        return truth === undefined ? undefined : !truth;
      }
      case "comparison":
        return this.#comparison(expr, row);
      case "attribute":
      case "intrinsic":
        return this.#bindings(expr, row).some((binding) => {
          const value = this.#referenceValue(expr, binding);
          return value?.type === "bool" && value.value;
        });
      default:
        return false;
    }
  }

  /** Evaluates the operand of `!`: true if any of its values is true. */
  #bool(reference: Reference, row: number): boolean | undefined {
    let truth: boolean | undefined;
    for (const binding of this.#bindings(reference, row)) {
      const value = this.#referenceValue(reference, binding);
      if (value !== undefined) truth = requireBool(value) || truth === true;
    }
    return truth;
  }

  #comparison(expr: Comparison, row: number): boolean {
    const { op, left, right } = expr;
    const bindings = this.#bindings(expr, row);
    const isLeftNil = isNil(left);
    if (isLeftNil || isNil(right)) {
      if (isLeftNil && isNil(right)) return false;
      const other = isLeftNil ? right : left;
      const isPresent = bindings.some((binding) => this.#value(other, binding) !== undefined);
      return isPresent === (op === "!=");
    }
    return bindings.some((binding) => this.#compareAt(expr, binding));
  }

  #compareAt(expr: Comparison, binding: Binding): boolean {
    const { op, left, right } = expr;
    if (right.kind === "set") {
      const value = this.#value(left, binding);
      return value !== undefined && this.#set(expr, right).value(value);
    }
    const leftValue = this.#value(left, binding);
    const rightValue = this.#value(right, binding);
    if (leftValue === undefined || rightValue === undefined) return false;
    if (op === "=~" || op === "!~") {
      if (rightValue.type !== "string") return false;
      const regex = right.kind === "static" ? right.regex : undefined;
      return matchValue(op, leftValue, regex ?? this.#matcher(rightValue.value));
    }
    if ((op === "=" || op === "!=") && (isIdName(left) || isIdName(right))) {
      return compareValues(op, normalizeId(leftValue), normalizeId(rightValue));
    }
    return compareValues(op, leftValue, rightValue);
  }

  #value(expr: FieldExpr, binding: Binding): Value | undefined {
    switch (expr.kind) {
      case "static":
        return literalValue(expr.static);
      case "attribute":
      case "intrinsic":
        return this.#referenceValue(expr, binding);
      case "negate": {
        const value = this.#value(expr.operand, binding);
        return value === undefined ? undefined : negateValue(value);
      }
      case "arithmetic": {
        const left = this.#value(expr.left, binding);
        const right = this.#value(expr.right, binding);
        if (left === undefined || right === undefined) return undefined;
        return calculate(expr.op, left, right);
      }
      default: {
        const truth = this.#truth(expr, binding.row);
        return truth === undefined ? undefined : { type: "bool", value: truth };
      }
    }
  }

  #referenceValue(reference: Reference, { row, event, link }: Binding): Value | undefined {
    for (const layer of this.layers(reference)) {
      if (layer.axis === undefined) {
        const value = layer.values.get(row);
        if (value !== undefined) return value;
      } else if (layer.values.has(row)) {
        return layer.values.item(row, layer.axis === "event" ? event : link);
      }
    }
    return undefined;
  }

  /** Returns every combination of an event and a link that the names of an expression refer to. */
  #bindings(expr: FieldExpr, row: number): Binding[] {
    let events = 0;
    let links = 0;
    for (const reference of this.#namesIn(expr)) {
      for (const layer of this.layers(reference)) {
        if (layer.axis === "event") events = Math.max(events, layer.values.count(row));
        if (layer.axis === "link") links = Math.max(links, layer.values.count(row));
      }
    }
    const bindings: Binding[] = [];
    for (let event = events === 0 ? -1 : 0; event < events; event++) {
      for (let link = links === 0 ? -1 : 0; link < links; link++)
        bindings.push({ row, event, link });
    }
    return bindings;
  }

  #namesIn(expr: FieldExpr): readonly Reference[] {
    let names = this.#names.get(expr);
    if (names === undefined) {
      names = ownNames(expr);
      this.#names.set(expr, names);
    }
    return names;
  }

  #set(expr: Comparison, set: LiteralSet): Predicate {
    let predicate = this.#sets.get(expr);
    if (predicate === undefined) {
      predicate = setComparison(expr.op, set, isIdName(expr.left));
      this.#sets.set(expr, predicate);
    }
    return predicate;
  }

  #matcher(pattern: string): Matcher {
    let matcher = this.#matchers.get(pattern);
    if (matcher === undefined) {
      matcher = compileRegex(pattern);
      this.#matchers.set(pattern, matcher);
    }
    return matcher;
  }
}

/** Returns the names of a comparison's sides. Nested conditions bind events independently. */
function ownNames(expr: FieldExpr): Reference[] {
  switch (expr.kind) {
    case "attribute":
    case "intrinsic":
      return [expr];
    case "comparison":
    case "arithmetic":
      return [expr.left, expr.right].flatMap((side) => sideNames(side));
    case "negate":
      return sideNames(expr.operand);
    default:
      return [];
  }
}

function sideNames(side: FieldExpr): Reference[] {
  return side.kind === "comparison" ? [] : ownNames(side);
}

function isNil(expr: FieldExpr): boolean {
  return expr.kind === "static" && expr.static.type === "nil";
}

function isIdName(expr: FieldExpr): boolean {
  return (expr.kind === "attribute" || expr.kind === "intrinsic") && isId(expr);
}

function literalValue(literal: Static): Value | undefined {
  return literal.type === "nil" ? undefined : literal;
}
