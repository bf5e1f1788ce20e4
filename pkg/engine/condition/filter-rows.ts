/** Evaluates any condition row by row: what columns cannot be asked for as a whole. */
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

/** A row, and which of its events and links the names of a comparison mean; -1 if it has none. */
interface Place {
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

  /** @param arena not reset while this is in use. */
  constructor(batch: ColumnBatch, arena: Arena = new Arena()) {
    this.#batch = batch;
    this.#arena = arena;
  }

  /** What a name means in this batch, opened once. */
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

  /** Whether the condition holds for the span in this row. */
  holds(expr: FieldExpr, row: number): boolean {
    return this.#truth(expr, row) === true;
  }

  /** The first value that the span has for a name: of its first event or link that has one. */
  firstValue(reference: Reference, row: number): Value | undefined {
    for (const place of this.#places(reference, row)) {
      const value = this.#referenceValue(reference, place);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** Undefined is nil. */
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
        return this.#places(expr, row).some((place) => {
          const value = this.#referenceValue(expr, place);
          return value?.type === "bool" && value.value;
        });
      default:
        return false;
    }
  }

  /** The operand of `!`: true if any of its values is. */
  #bool(reference: Reference, row: number): boolean | undefined {
    let truth: boolean | undefined;
    for (const place of this.#places(reference, row)) {
      const value = this.#referenceValue(reference, place);
      if (value !== undefined) truth = requireBool(value) || truth === true;
    }
    return truth;
  }

  #comparison(expr: Comparison, row: number): boolean {
    const { op, left, right } = expr;
    const places = this.#places(expr, row);
    const isLeftNil = isNil(left);
    if (isLeftNil || isNil(right)) {
      if (isLeftNil && isNil(right)) return false;
      const other = isLeftNil ? right : left;
      const isPresent = places.some((place) => this.#value(other, place) !== undefined);
      return isPresent === (op === "!=");
    }
    return places.some((place) => this.#compareAt(expr, place));
  }

  #compareAt(expr: Comparison, place: Place): boolean {
    const { op, left, right } = expr;
    if (right.kind === "set") {
      const value = this.#value(left, place);
      return value !== undefined && this.#set(expr, right).value(value);
    }
    const leftValue = this.#value(left, place);
    const rightValue = this.#value(right, place);
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

  #value(expr: FieldExpr, place: Place): Value | undefined {
    switch (expr.kind) {
      case "static":
        return literalValue(expr.static);
      case "attribute":
      case "intrinsic":
        return this.#referenceValue(expr, place);
      case "negate": {
        const value = this.#value(expr.operand, place);
        return value === undefined ? undefined : negateValue(value);
      }
      case "arithmetic": {
        const left = this.#value(expr.left, place);
        const right = this.#value(expr.right, place);
        if (left === undefined || right === undefined) return undefined;
        return calculate(expr.op, left, right);
      }
      default: {
        const truth = this.#truth(expr, place.row);
        return truth === undefined ? undefined : { type: "bool", value: truth };
      }
    }
  }

  #referenceValue(reference: Reference, { row, event, link }: Place): Value | undefined {
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

  /** Every combination of an event and a link that the names of an expression can mean. */
  #places(expr: FieldExpr, row: number): Place[] {
    let events = 0;
    let links = 0;
    for (const reference of this.#namesIn(expr)) {
      for (const layer of this.layers(reference)) {
        if (layer.axis === "event") events = Math.max(events, layer.values.count(row));
        if (layer.axis === "link") links = Math.max(links, layer.values.count(row));
      }
    }
    const places: Place[] = [];
    for (let event = events === 0 ? -1 : 0; event < events; event++) {
      for (let link = links === 0 ? -1 : 0; link < links; link++) places.push({ row, event, link });
    }
    return places;
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

/** The names of a comparison's sides; conditions inside of it look at events of their own. */
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
