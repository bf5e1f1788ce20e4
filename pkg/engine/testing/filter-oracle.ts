/**
 * Test support: a simple evaluation of a condition over one OTLP span as an object. It shares no
 * code with the engine except the regular expressions, so that a mistake does not hide in both.
 */
import type { AnyValue, KeyValue, Resource, Scope, Span } from "#pkg/otlp/trace-data.ts";
import type { FieldExpr, Static } from "#pkg/traceql/ast.ts";
import { compileRegex } from "#pkg/traceql/traceql.ts";

export interface WholeSpan {
  resource: Resource;
  scope: Scope;
  span: Span;
  /** All spans of its trace that count, including itself. */
  trace: readonly WholeSpan[];
}

/** Thrown for a condition that cannot be evaluated over the data. */
export class OracleError extends Error {}

type V = { t: string; v: unknown } | undefined;
interface Choice {
  event: number;
  link: number;
}

const kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const statuses = ["unset", "ok", "error"];

export function oracleHolds(expr: FieldExpr, whole: WholeSpan): boolean {
  return truth(expr, whole) === true;
}

function truth(expr: FieldExpr, whole: WholeSpan): boolean | undefined {
  if (expr.kind === "static") return expr.static.type === "bool" && expr.static.value;
  if (expr.kind === "logical" && expr.op === "&&") {
    return oracleHolds(expr.left, whole) && oracleHolds(expr.right, whole);
  }
  if (expr.kind === "logical")
    return oracleHolds(expr.left, whole) || oracleHolds(expr.right, whole);
  if (expr.kind === "attribute") {
    return choices(whole).some((choice) => {
      const value = evaluate(expr, whole, choice);
      return value?.t === "bool" && value.v === true;
    });
  }
  if (expr.kind === "not") return negation(expr.operand, whole);
  if (expr.kind === "comparison") return comparison(expr, whole);
  return false;
}

function negation(operand: FieldExpr, whole: WholeSpan): boolean | undefined {
  if (operand.kind !== "attribute") {
    const inner = truth(operand, whole);
    return inner === undefined ? undefined : !inner;
  }
  const values = choices(whole)
    .map((choice) => evaluate(operand, whole, choice))
    .filter((value) => value !== undefined);
  if (values.length === 0) return undefined;
  if (values.some(({ t }) => t !== "bool")) throw new OracleError("! needs a boolean");
  return !values.some(({ v }) => v === true);
}

/** Returns all pairs of an event and a link; -1 if there is none. */
function choices({ span }: WholeSpan): Choice[] {
  const events = span.events.length === 0 ? [-1] : span.events.map((_, i) => i);
  const links = span.links.length === 0 ? [-1] : span.links.map((_, i) => i);
  return events.flatMap((event) => links.map((link) => ({ event, link })));
}

function comparison(
  { op, left, right, range }: Extract<FieldExpr, { kind: "comparison" }>,
  whole: WholeSpan,
): boolean {
  for (const [side, other] of [
    [left, right],
    [right, left],
  ]) {
    if (side.kind !== "static" || side.static.type !== "nil") continue;
    const isThere = choices(whole).some((c) => evaluate(other, whole, c) !== undefined);
    return op === "!=" ? isThere : !isThere;
  }
  // A set is evaluated as a chain of comparisons.
  if (right.kind === "set") {
    const one = (value: Static): boolean =>
      comparison(
        { kind: "comparison", op, left, right: { kind: "static", static: value, range }, range },
        whole,
      );
    return op === "=" ? right.values.some(one) : right.values.every(one);
  }
  const isId = [left, right].some(
    (side) => side.kind === "intrinsic" && /:(id|parentID|traceID|spanID)$/.test(side.name),
  );
  return choices(whole).some((choice) => {
    let a = evaluate(left, whole, choice);
    let b = evaluate(right, whole, choice);
    if (a === undefined || b === undefined) return false;
    if (isId && (op === "=" || op === "!=")) [a, b] = [bareId(a), bareId(b)];
    return compare(op, a, b);
  });
}

function bareId(value: NonNullable<V>): NonNullable<V> {
  if (value.t !== "string") return value;
  let text = (value.v as string).toLowerCase();
  while (text.startsWith("0")) text = text.slice(1);
  return { t: "string", v: text };
}

function compare(op: string, a: NonNullable<V>, b: NonNullable<V>): boolean {
  if (a.t === "array" && b.t === "array") throw new OracleError("two arrays");
  if (a.t === "array" || b.t === "array") {
    const answers =
      a.t === "array"
        ? (a.v as NonNullable<V>[]).map((item) => compareOne(op, item, b))
        : (b.v as NonNullable<V>[]).map((item) => compareOne(op, a, item));
    return op === "!=" || op === "!~" ? !answers.includes(false) : answers.includes(true);
  }
  return compareOne(op, a, b);
}

const numbers = new Set(["int", "float", "duration"]);

function compareOne(op: string, a: NonNullable<V>, b: NonNullable<V>): boolean {
  if (op === "=~" || op === "!~") {
    if (a.t !== "string" || b.t !== "string") return false;
    const isMatch = compileRegex(b.v as string).matches(a.v as string);
    return op === "=~" ? isMatch : !isMatch;
  }
  const isBothNumbers = numbers.has(a.t) && numbers.has(b.t);
  if (!isBothNumbers && a.t !== b.t) return false;
  if (a.t === "array" || a.t === "other") return false;
  if (!isBothNumbers && a.t !== "string" && op !== "=" && op !== "!=") return false;
  // Texts are compared as hex, which orders them by their bytes.
  const hex = (text: unknown): string => Buffer.from(text as string).toString("hex");
  const x = (a.t === "string" ? hex(a.v) : a.v) as number;
  const y = (b.t === "string" ? hex(b.v) : b.v) as number;
  const answers: Record<string, boolean> = {
    "<": x < y,
    ">": x > y,
    "<=": x <= y,
    ">=": x >= y,
    // oxlint-disable-next-line eqeqeq -- bigint against number
    "=": x == y,
    // oxlint-disable-next-line eqeqeq -- bigint against number
    "!=": x != y,
  };
  return answers[op];
}

function evaluate(expr: FieldExpr, whole: WholeSpan, choice: Choice): V {
  switch (expr.kind) {
    case "static":
      return expr.static.type === "nil" ? undefined : { t: expr.static.type, v: expr.static.value };
    case "attribute":
      return attribute(expr.scope, expr.name, { whole, choice });
    case "intrinsic":
      return intrinsic(expr.name, whole, choice);
    case "negate": {
      const value = evaluate(expr.operand, whole, choice);
      if (value?.t === "array") throw new OracleError("- of an array");
      if (value === undefined || !numbers.has(value.t)) return undefined;
      if (value.t === "float") return { t: "float", v: -(value.v as number) };
      return { t: value.t, v: BigInt.asIntN(64, -(value.v as bigint)) };
    }
    case "arithmetic":
      return arithmetic(
        expr.op,
        evaluate(expr.left, whole, choice),
        evaluate(expr.right, whole, choice),
      );
    default: {
      const value = truth(expr, whole);
      return value === undefined ? undefined : { t: "bool", v: value };
    }
  }
}

function arithmetic(op: string, a: V, b: V): V {
  if (a === undefined || b === undefined) return undefined;
  if (a.t === "array" || b.t === "array") throw new OracleError("arithmetic with an array");
  if (!numbers.has(a.t) || !numbers.has(b.t)) return undefined;
  const x = a.v as bigint;
  const y = b.v as bigint;
  const durations = [a.t, b.t].filter((t) => t === "duration").length;
  const isExact = a.t !== "float" && b.t !== "float";
  if (durations === 0 && isExact) {
    if ((op === "/" || op === "%") && y === 0n) throw new OracleError("division by zero");
    if (op === "^") return { t: "int", v: power(x, y) };
    return { t: "int", v: BigInt.asIntN(64, plain(op, x, y)) };
  }
  const isDuration =
    isExact &&
    ((durations === 2 && (op === "+" || op === "-")) ||
      (durations === 1 && op === "*") ||
      (durations === 1 && op === "/" && a.t === "duration" && y !== 0n && x % y === 0n));
  if (isDuration) return { t: "duration", v: BigInt.asIntN(64, plain(op, x, y)) };
  const [p, q] = [Number(a.v), Number(b.v)];
  const answers: Record<string, number> = {
    "+": p + q,
    "-": p - q,
    "*": p * q,
    "/": p / q,
    "%": p % q,
    "^": p ** q,
  };
  return { t: "float", v: answers[op] };
}

function plain(op: string, x: bigint, y: bigint): bigint {
  if (op === "+") return x + y;
  if (op === "-") return x - y;
  if (op === "*") return x * y;
  return op === "/" ? x / y : x % y;
}

/** Computes small exponents directly, and large ones by squaring, if the result is not constant. */
function power(x: bigint, y: bigint): bigint {
  if (y < 0n && x === 0n) throw new OracleError("division by zero");
  if (x === 1n || (x === -1n && y % 2n === 0n)) return 1n;
  if (x === -1n) return -1n;
  if (y < 0n) return 0n;
  if (y <= 512n) return BigInt.asIntN(64, x ** y);
  // Odd numbers repeat after 2^62 steps at the latest, even ones are 0 after 64.
  if (x % 2n === 0n) return 0n;
  let out = 1n;
  for (const bit of y.toString(2)) {
    out = BigInt.asIntN(64, out * out);
    if (bit === "1") out = BigInt.asIntN(64, out * x);
  }
  return out;
}

function attribute(
  scope: string,
  name: string,
  { whole, choice }: { whole: WholeSpan; choice: Choice },
): V {
  const { resource, scope: library, span } = whole;
  const event = span.events[choice.event] as Span["events"][number] | undefined;
  const link = span.links[choice.link] as Span["links"][number] | undefined;
  const own: Record<string, readonly KeyValue[]> = {
    span: span.attributes,
    resource: resource.attributes,
    event: event?.attributes ?? [],
    link: link?.attributes ?? [],
    instrumentation: library.attributes,
  };
  if (scope !== "any") return lookUp(own[scope], name);
  const all: Record<string, readonly KeyValue[]> = {
    ...own,
    event: span.events.flatMap(({ attributes }) => attributes),
    link: span.links.flatMap(({ attributes }) => attributes),
  };
  const where = ["span", "resource", "event", "link", "instrumentation"].find((one) =>
    all[one].some(({ key }) => key === name),
  );
  return where === undefined ? undefined : lookUp(own[where], name);
}

/** Returns the last value of a key. */
function lookUp(attributes: readonly KeyValue[], name: string): V {
  const found = attributes.filter(({ key }) => key === name);
  return found.length === 0 ? undefined : plainValue(found[found.length - 1].value);
}

function plainValue(value: AnyValue): NonNullable<V> {
  if (value.kind === "array")
    return { t: "array", v: value.values.map((item) => plainValue(item)) };
  if (value.kind === "double") return { t: "float", v: value.value };
  const isScalar = value.kind === "string" || value.kind === "int" || value.kind === "bool";
  return isScalar ? { t: value.kind, v: value.value } : { t: "other", v: undefined };
}

function intrinsic(name: string, whole: WholeSpan, choice: Choice): V {
  const { span, scope } = whole;
  const event = span.events[choice.event] as Span["events"][number] | undefined;
  const link = span.links[choice.link] as Span["links"][number] | undefined;
  const hex = (bytes: Uint8Array): V => ({ t: "string", v: Buffer.from(bytes).toString("hex") });
  const signed = (nanos: bigint): bigint => BigInt.asIntN(64, nanos);
  const lasts = signed(span.endTimeUnixNano - span.startTimeUnixNano);
  const answers: Record<string, () => V> = {
    "span:duration": () => ({ t: "duration", v: lasts < 0n ? 0n : lasts }),
    "span:name": () => ({ t: "string", v: span.name }),
    "span:statusMessage": () => ({ t: "string", v: span.status.message }),
    "span:status": () => ({ t: "status", v: statuses[span.status.code] }),
    "span:kind": () => ({ t: "kind", v: kinds[span.kind] }),
    "span:id": () => hex(span.spanId),
    "span:parentID": () => hex(span.parentSpanId),
    "span:childCount": () => int(childrenOf(whole, whole.trace).length),
    "trace:id": () => hex(span.traceId),
    "trace:duration": () => ({ t: "duration", v: traceDuration(whole.trace) }),
    "trace:rootName": () => ({ t: "string", v: rootsOf(whole.trace)[0]?.span.name ?? "" }),
    "trace:rootService": () => ({ t: "string", v: serviceOf(rootsOf(whole.trace)[0]) }),
    nestedSetLeft: () => int(nestedSet(whole).left),
    nestedSetRight: () => int(nestedSet(whole).right),
    nestedSetParent: () => int(nestedSet(whole).parent),
    "event:name": () => event && { t: "string", v: event.name },
    "event:timeSinceStart": () =>
      event && { t: "duration", v: signed(event.timeUnixNano - span.startTimeUnixNano) },
    "link:traceID": () => link && hex(link.traceId),
    "link:spanID": () => link && hex(link.spanId),
    "instrumentation:name": () => ({ t: "string", v: scope.name }),
    "instrumentation:version": () => ({ t: "string", v: scope.version }),
  };
  return answers[name]();
}

function int(value: number): V {
  return { t: "int", v: BigInt(value) };
}

function startOf({ span }: WholeSpan): bigint {
  return BigInt.asIntN(64, span.startTimeUnixNano);
}

function lengthOf({ span }: WholeSpan): bigint {
  const nanos = BigInt.asIntN(64, span.endTimeUnixNano - span.startTimeUnixNano);
  return nanos > 0n ? nanos : 0n;
}

function traceDuration(trace: readonly WholeSpan[]): bigint {
  const starts = trace.map((one) => startOf(one));
  const ends = trace.map((one) => startOf(one) + lengthOf(one));
  const least = starts.reduce((a, b) => (b < a ? b : a));
  return ends.reduce((a, b) => (b > a ? b : a)) - least;
}

/** Returns the first `service.name`, if it is a string. */
function serviceOf(whole: WholeSpan | undefined): string {
  const found = whole?.resource.attributes.find(({ key }) => key === "service.name");
  return found?.value.kind === "string" ? found.value.value : "";
}

function idOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Returns a text that sorts as the trace's spans do. */
function orderKey(whole: WholeSpan): string {
  const number = (value: bigint): string => String(value + 2n ** 64n).padStart(21, "0");
  const text = (value: string): string => `${Buffer.from(value).toString("hex")} `;
  const { span } = whole;
  const names = text(serviceOf(whole)) + text(span.name);
  return number(startOf(whole)) + idOf(span.spanId) + names + number(lengthOf(whole));
}

function inOrder(spans: readonly WholeSpan[]): WholeSpan[] {
  return spans
    .map((one) => ({ one, key: orderKey(one) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ one }) => one);
}

function rootsOf(trace: readonly WholeSpan[]): WholeSpan[] {
  return inOrder(trace.filter(({ span }) => span.parentSpanId.every((byte) => byte === 0)));
}

function childrenOf({ span }: WholeSpan, trace: readonly WholeSpan[]): WholeSpan[] {
  const id = idOf(span.spanId);
  return inOrder(
    trace.filter((other) => other.span !== span && idOf(other.span.parentSpanId) === id),
  );
}

/** Numbers the spans depth first from every root; all 0 for spans without a path to a root. */
function nestedSet(wanted: WholeSpan): { left: number; right: number; parent: number } {
  let number = 0;
  let found = { left: 0, right: 0, parent: 0 };
  const walk = (one: WholeSpan, parent: number): void => {
    const left = ++number;
    for (const child of childrenOf(one, wanted.trace)) walk(child, left);
    const right = ++number;
    if (one.span === wanted.span) found = { left, right, parent };
  };
  for (const root of rootsOf(wanted.trace)) walk(root, -1);
  return found;
}
