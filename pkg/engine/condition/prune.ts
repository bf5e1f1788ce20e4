/**
 * Decides from the tag index alone whether a row group can have a span that matches a condition.
 * False is certain. True may be wrong: the index does not hold everything (no ids), and indexes of
 * older versions hold less.
 */
import { intrinsicSources } from "./intrinsics.ts";
import { columnPrefix } from "#pkg/columns/columns.ts";
import type { TagEntry, TagIndex, TagType } from "#pkg/block/block.ts";
import { TagValues } from "#pkg/block/index/tag-values.ts";
import type {
  ComparisonOp,
  FieldExpr,
  IntrinsicName,
  LiteralSet,
  Reference,
  Static,
} from "#pkg/traceql/traceql.ts";
import { referencesOf } from "./filter.ts";
import { setComparison } from "./literal-set.ts";
import {
  comparisonWith,
  exists,
  int64Max,
  int64Min,
  isTrue,
  mirrored,
  type Predicate,
} from "./predicate.ts";
import { valueOfText } from "./index-values.ts";
import { isId, scopesOf } from "./references.ts";
import { compareValues, type OrderOp, type Value } from "./values.ts";

type Comparison = Extract<FieldExpr, { kind: "comparison" }>;

/** A test of values: the predicate, and the comparison that it is made from. */
interface Question {
  predicate: Predicate;
  op: OrderOp | undefined;
  literal: Static | undefined;
  /** For a set: all its literals; with `=`, the value must be one of them. */
  literals?: readonly Static[];
}

const existence: Question = { predicate: exists, op: undefined, literal: undefined };
const truth: Question = { predicate: isTrue, op: undefined, literal: undefined };

/** Returns whether a span can match. Throws Corrupt for a damaged filter in the index. */
export function mayMatch(index: TagIndex, expr: FieldExpr): boolean {
  return new Pruner(index).may(expr);
}

/** Returns the keys of a tag index that `mayMatch` reads for this condition. */
export function pruneKeys(expr: FieldExpr): string[] {
  return [...new Set(referencesOf(expr).flatMap((reference) => indexKeys(reference)))];
}

function indexKeys(reference: Reference): string[] {
  if (reference.kind === "intrinsic")
    return [intrinsicSources[reference.name].indexKey ?? []].flat();
  return scopesOf(reference.scope).flatMap((scope) => {
    const key = `${columnPrefix(scope)}.${reference.name}`;
    // An index without attributes of events still shows whether there are events.
    return scope === "event" ? [key, "event_name"] : key;
  });
}

class Pruner {
  readonly #index: TagIndex;

  constructor(index: TagIndex) {
    this.#index = index;
  }

  may(expr: FieldExpr): boolean {
    switch (expr.kind) {
      case "static":
        return expr.static.type === "bool" && expr.static.value;
      case "logical":
        return expr.op === "&&"
          ? this.may(expr.left) && this.may(expr.right)
          : this.may(expr.left) || this.may(expr.right);
      case "attribute":
      case "intrinsic":
        return this.#mayHave(expr, truth);
      case "comparison":
        return this.#comparison(expr);
      default:
        return true;
    }
  }

  #comparison(expr: Comparison): boolean {
    const { left, right } = expr;
    const isLeft = isReference(left);
    const reference = isLeft ? left : right;
    const literal = isLeft ? right : left;
    if (isReference(left) && right.kind === "set") {
      return this.#mayHave(left, setQuestion(expr.op, left, right));
    }
    const isNilAsked = isNil(left) || isNil(right);
    if (isReference(reference) && literal.kind === "static") {
      if (isNilAsked) return expr.op === "=" || this.#mayHave(reference, existence);
      return this.#mayHave(reference, questionOf(expr, { reference, literal, isLeft }));
    }
    // Nil on any side makes a comparison false.
    return isNilAsked || (this.#mayBe(left) && this.#mayBe(right));
  }

  /** Returns whether an operand can be other than nil. */
  #mayBe(expr: FieldExpr): boolean {
    switch (expr.kind) {
      case "attribute":
      case "intrinsic":
        return this.#mayHave(expr, existence);
      case "negate":
        return this.#mayBe(expr.operand);
      case "arithmetic":
        return this.#mayBe(expr.left) && this.#mayBe(expr.right);
      default:
        return true;
    }
  }

  /** Returns whether the name can have a value that satisfies the question. */
  #mayHave(reference: Reference, question: Question): boolean {
    if (reference.kind === "intrinsic") return this.#intrinsic(reference.name, question);
    return scopesOf(reference.scope).some((scope) => {
      if ((scope === "event" || scope === "link") && !this.#index.covers.includes(scope)) {
        return scope === "event" ? this.#hasEvents() : this.#hasLinks();
      }
      const prefix = columnPrefix(scope);
      return this.#key(`${prefix}.${reference.name}`, question);
    });
  }

  #intrinsic(name: IntrinsicName, question: Question): boolean {
    const { kind, column } = intrinsicSources[name];
    switch (kind) {
      case "text":
        return this.#text(column, question, "");
      case "status":
        return this.#words("status", question, "unset");
      case "kind":
        return this.#words("kind", question, "unspecified");
      case "duration":
        return this.#duration(question);
      case "event_text":
        return this.#key(column, question);
      case "event_time":
        return this.#hasEvents();
      case "link_trace_id":
      case "link_span_id":
        return this.#hasLinks();
      default:
        return true;
    }
  }

  #hasEvents(): boolean {
    return this.#key("event_name", existence);
  }

  /** Returns whether there may be links. An index without link attributes does not count links. */
  #hasLinks(): boolean {
    return !this.#index.covers.includes("link") || this.#key("link_span_id", existence);
  }

  /** Tests a text. The index omits nulls, which are `absent` texts. */
  #text(key: string, question: Question, absent: string): boolean {
    return holds(question, { type: "string", value: absent }) || this.#key(key, question);
  }

  #words(key: "status" | "kind", question: Question, absent: string): boolean {
    const wordOf = (value: string): Value => ({ type: key, value }) as Value;
    if (holds(question, wordOf(absent))) return true;
    const entries = this.#entries(key);
    if (entries.length === 0) return this.#index.truncated;
    return entries.some(
      ({ values, truncated }) =>
        truncated || values.some(([text]) => holds(question, wordOf(text))),
    );
  }

  #duration(question: Question): boolean {
    const [entry] = this.#entries("duration_nano");
    if (entry?.min === undefined || entry.max === undefined) return true;
    const positive = (text: string): bigint => (BigInt(text) > 0n ? BigInt(text) : 0n);
    return mayHoldBetween(question, {
      type: "duration",
      min: positive(entry.min),
      max: positive(entry.max),
    });
  }

  #entries(key: string): TagEntry[] {
    return this.#index.entries.filter((entry) => entry.key === key);
  }

  #key(key: string, question: Question): boolean {
    const entries = this.#entries(key);
    return this.#index.truncated || entries.some((entry) => mayHold(entry, question));
  }
}

function isReference(expr: FieldExpr): expr is Reference {
  return expr.kind === "attribute" || expr.kind === "intrinsic";
}

function isNil(expr: FieldExpr): boolean {
  return expr.kind === "static" && expr.static.type === "nil";
}

function questionOf(
  { op }: Comparison,
  {
    reference,
    literal,
    isLeft,
  }: { reference: Reference; literal: Extract<FieldExpr, { kind: "static" }>; isLeft: boolean },
): Question {
  // Ids are not in the index, and the language does not allow a literal left of a regex.
  if (isId(reference)) return existence;
  const seen = isLeft ? op : mirrored(op);
  const predicate = comparisonWith(seen, literal.static, literal.regex);
  const isRegex = seen === "=~" || seen === "!~";
  const texts = seen === "=~" ? literal.regex?.literals : undefined;
  if (texts !== undefined) {
    const literals = [...texts].map((value): Static => ({ type: "string", value }));
    return { predicate, op: "=", literal: literal.static, literals };
  }
  return { predicate, op: isRegex ? undefined : seen, literal: literal.static };
}

function setQuestion(op: ComparisonOp, reference: Reference, set: LiteralSet): Question {
  if (isId(reference)) return existence;
  const predicate = setComparison(op, set, false);
  const { values } = set;
  return { predicate, op: op === "=" ? "=" : undefined, literal: values[0], literals: values };
}

function holds({ predicate }: Question, value: Value): boolean {
  return predicate.value(value);
}

/** Returns whether one of an entry's values can satisfy the question. */
function mayHold(entry: TagEntry, question: Question): boolean {
  const { type, values, truncated } = entry;
  if (type === "other" || question === existence) return true;
  // The type can never satisfy the question, for example an integer compared with a text.
  if (question.literal !== undefined && !isComparable(type, question.literal)) return false;
  if (values.some(([text]) => holds(question, valueOfText(type, text)))) return true;
  if (!truncated) return false;
  const { op, literal, literals } = question;
  if (literals !== undefined) {
    if (op !== "=" || type !== "string") return true;
    const known = new TagValues(entry);
    return literals.some((one) => one.type === "string" && known.mayHold(one.value));
  }
  if (op === "=" && literal?.type === "string") return new TagValues(entry).mayHold(literal.value);
  if (type === "int64" && op === "=" && literal?.type === "int") {
    return new TagValues(entry).mayHold(String(literal.value)) && mayHoldNumber(entry, question);
  }
  return type === "int64" || type === "double" ? mayHoldNumber(entry, question) : true;
}

function isComparable(type: TagType, literal: Static): boolean {
  const isNumber = ["int", "float", "duration"].includes(literal.type);
  if (isNumber) return type === "int64" || type === "double";
  return literal.type === type;
}

function mayHoldNumber({ type, min, max }: TagEntry, question: Question): boolean {
  if (min === undefined || max === undefined) return true;
  if (type === "int64") {
    return mayHoldBetween(question, { type: "int", min: BigInt(min), max: BigInt(max) });
  }
  // Minimum and maximum do not cover NaN, which is unequal to everything.
  if (question.op === "!=" || question.op === undefined) return true;
  const [least, greatest]: Value[] = [min, max].map((text) => valueOfText(type, text));
  if (question.op !== "=") return holds(question, least) || holds(question, greatest);
  const literal = question.literal as Value;
  return compareValues("<=", least, literal) && compareValues(">=", greatest, literal);
}

/** Returns whether an integer from `min` to `max` can satisfy the question. */
function mayHoldBetween(
  { predicate }: Question,
  { min, max }: { type: "int" | "duration"; min: bigint; max: bigint },
): boolean {
  const { ints } = predicate;
  if (ints === undefined) return true;
  const wanted = {
    min: ints.min < int64Min ? int64Min : ints.min,
    max: ints.max > int64Max ? int64Max : ints.max,
  };
  const isEmpty = wanted.min > wanted.max;
  if (ints.isInside) return !isEmpty && wanted.min <= max && wanted.max >= min;
  return isEmpty || min < wanted.min || max > wanted.max;
}
