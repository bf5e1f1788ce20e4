/**
 * Analyses conditions that use values of whole traces. A shard may hold only a part of a trace, so
 * it evaluates the part of the condition that concerns single spans.
 */
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import { costOfRegex } from "#pkg/traceql/regex.ts";
import { isOfWholeTrace } from "./intrinsics.ts";

/** Returns whether the condition names a value of the whole trace. */
export function namesWholeTrace(expr: FieldExpr): boolean {
  switch (expr.kind) {
    case "static":
    case "set":
    case "attribute":
      return false;
    case "intrinsic":
      return isOfWholeTrace(expr.name);
    case "not":
    case "negate":
      return namesWholeTrace(expr.operand);
    default:
      return namesWholeTrace(expr.left) || namesWholeTrace(expr.right);
  }
}

/**
 * Returns a condition on single spans that is necessary for `expr`: every span that matches `expr`
 * matches it, whatever the rest of its trace. Returns `expr` itself if it names no value of the
 * trace, and undefined if any span may match. A condition that can fail has no span part: whether
 * it fails must not depend on the known part of a trace.
 */
export function spanPart(expr: FieldExpr): FieldExpr | undefined {
  if (!namesWholeTrace(expr)) return expr;
  if (mayFail(expr)) return undefined;
  const part = possible(expr);
  return part === true ? undefined : part;
}

/**
 * Returns the necessary condition; true if any span may match. Adds no `!` of a bare name: it may
 * fail.
 */
function possible(expr: FieldExpr): FieldExpr | true {
  if (expr.kind === "logical") {
    const left = possible(expr.left);
    const right = possible(expr.right);
    if (expr.op === "||") return left === true || right === true ? true : { ...expr, left, right };
    if (left === true || right === true) return left === true ? right : left;
    return { ...expr, left, right };
  }
  if (expr.kind === "not") {
    const certainly = certain(expr.operand);
    return certainly === false || isName(certainly) ? true : { ...expr, operand: certainly };
  }
  return namesWholeTrace(expr) ? true : expr;
}

/** Returns a sufficient condition on single spans; false if no span is certain to match. */
function certain(expr: FieldExpr): FieldExpr | false {
  if (expr.kind === "logical") {
    const left = certain(expr.left);
    const right = certain(expr.right);
    if (expr.op === "&&") {
      return left === false || right === false ? false : { ...expr, left, right };
    }
    if (left === false || right === false) return left === false ? right : left;
    return { ...expr, left, right };
  }
  if (expr.kind === "not") {
    const may = possible(expr.operand);
    return may === true || isName(may) ? false : { ...expr, operand: may };
  }
  return namesWholeTrace(expr) ? false : expr;
}

/**
 * Returns whether evaluating the condition can throw for some values: `!` of a value that is not a
 * boolean, arithmetic with arrays, two arrays compared, an integer divided by zero. Only attributes
 * can be arrays.
 */
export function mayFail(expr: FieldExpr): boolean {
  switch (expr.kind) {
    case "static":
    case "set":
    case "attribute":
    case "intrinsic":
      return false;
    case "not": {
      const { kind } = expr.operand;
      return (kind !== "logical" && kind !== "comparison") || mayFail(expr.operand);
    }
    case "negate":
      return isAttribute(expr.operand) || mayFail(expr.operand);
    case "logical":
      return mayFail(expr.left) || mayFail(expr.right);
    case "comparison": {
      const isArrays = isAttribute(expr.left) && isAttribute(expr.right);
      return isArrays || mayFail(expr.left) || mayFail(expr.right);
    }
    default: {
      const isExact = expr.op === "+" || expr.op === "-" || expr.op === "*";
      const hasArray = isAttribute(expr.left) || isAttribute(expr.right);
      return !isExact || hasArray || mayFail(expr.left) || mayFail(expr.right);
    }
  }
}

function isAttribute({ kind }: FieldExpr): boolean {
  return kind === "attribute";
}

function isName({ kind }: FieldExpr): boolean {
  return kind === "attribute" || kind === "intrinsic";
}

/** Returns whether a condition has a pattern other than a choice of texts. */
export function hasPattern(expr: FieldExpr | undefined): boolean {
  switch (expr?.kind) {
    case "not":
    case "negate":
      return hasPattern(expr.operand);
    case "comparison": {
      const { op, right } = expr;
      const isPattern = (op === "=~" || op === "!~") && right.kind === "static";
      if (isPattern && costOfRegex(String(right.static.type === "nil" || right.static.value)) > 0) {
        return true;
      }
      return hasPattern(expr.left) || hasPattern(right);
    }
    case "logical":
    case "arithmetic":
      return hasPattern(expr.left) || hasPattern(expr.right);
    default:
      return false;
  }
}

/** Returns the conditions that `&&` joins, from left to right. */
export function conjunctsOf(expr: FieldExpr): FieldExpr[] {
  if (expr.kind !== "logical" || expr.op !== "&&") return [expr];
  return [...conjunctsOf(expr.left), ...conjunctsOf(expr.right)];
}

/** Returns the id (16 bytes) of the only trace that can match, if the condition names one. */
export function requiredTraceId(expr: FieldExpr): Uint8Array | undefined {
  for (const one of conjunctsOf(expr)) {
    if (one.kind !== "comparison" || one.op !== "=") continue;
    const { left, right } = one;
    const literal = left.kind === "static" ? left.static : right.kind === "static" && right.static;
    const isId = [left, right].some(
      (side) => side.kind === "intrinsic" && side.name === "trace:id",
    );
    if (!isId || literal === false || literal.type !== "string") continue;
    if (/^[0-9a-fA-F]{1,32}$/.test(literal.value)) {
      return Buffer.from(literal.value.padStart(32, "0"), "hex");
    }
  }
  return undefined;
}
