/**
 * Which names of a condition are values of the whole trace, and what is left of a condition when
 * the trace is not known: a shard holds a part of it only.
 */
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import { costOfRegex } from "#pkg/traceql/regex.ts";
import { isOfWholeTrace } from "./intrinsics.ts";

/** Whether the condition names a value of the whole trace. */
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
 * A condition on single spans that every span satisfies that satisfies `expr`, whatever the rest of
 * its trace is; undefined if that is any span. `expr` itself if it names no value of the trace.
 * What can fail is asked of every span: an error must not depend on what is known of a trace.
 */
export function spanPart(expr: FieldExpr): FieldExpr | undefined {
  if (!namesWholeTrace(expr)) return expr;
  if (mayFail(expr)) return undefined;
  const part = possible(expr);
  return part === true ? undefined : part;
}

/** True: any span may satisfy it. `!` of a bare name that was not there before could fail. */
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

/** False: no span satisfies it for certain. */
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
 * Whether evaluating the condition can throw for some values: `!` of what is no boolean, arithmetic
 * with arrays, two arrays compared, an integer divided by zero. Only attributes can be arrays.
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

/** Whether a condition asks for a pattern that is no choice of texts. */
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

/** The conditions that `&&` joins, from left to right. */
export function conjunctsOf(expr: FieldExpr): FieldExpr[] {
  if (expr.kind !== "logical" || expr.op !== "&&") return [expr];
  return [...conjunctsOf(expr.left), ...conjunctsOf(expr.right)];
}

/** The trace (16 bytes) that every span which satisfies the condition is of, if it names one. */
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
