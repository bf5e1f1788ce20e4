/** Formats field expressions as canonical text: parsing it returns an equal tree. */
import type { AttributeScope, FieldExpr, Static } from "./ast.ts";
import { intrinsics } from "./intrinsics.ts";
import { int64Min } from "./literals.ts";
import { endsName } from "./tokens.ts";

/** Precedence of operators; an operand of lower precedence than required gets parentheses. */
const level = { logical: 1, comparison: 2, sum: 3, not: 4, product: 5, power: 6, atom: 7 };

/** Returns the canonical text, which is also the label name of a series: `span.a`, `duration`. */
export function formatField(expr: FieldExpr): string {
  return print(expr, 0);
}

function print(expr: FieldExpr, levelMin: number): string {
  const text = printBare(expr);
  return levelOf(expr) < levelMin ? `(${text})` : text;
}

function levelOf(expr: FieldExpr): number {
  switch (expr.kind) {
    case "static":
      return isNegative(expr.static) ? level.sum : level.atom;
    case "attribute":
    case "intrinsic":
      return level.atom;
    case "not":
      return level.not;
    case "negate":
      return level.sum;
    case "logical":
      return level.logical;
    case "set":
      return level.atom;
    case "comparison":
      return setOp(expr) === undefined ? level.comparison : level.logical;
    default:
      if (expr.op === "^") return level.power;
      return expr.op === "+" || expr.op === "-" ? level.sum : level.product;
  }
}

function printBare(expr: FieldExpr): string {
  switch (expr.kind) {
    case "static":
      return formatStatic(expr.static);
    case "attribute":
      return formatAttribute(expr.scope, expr.name);
    case "intrinsic":
      return intrinsics[expr.name].legacy ?? expr.name;
    case "not":
      return `!${print(expr.operand, level.atom)}`;
    case "negate":
      // `-a * b` means -(a * b); parentheses make this visible.
      return `-${print(expr.operand, level.atom)}`;
    case "logical":
      return printLogical(expr);
    case "set":
      return expr.values.map(formatStatic).join(", ");
    default: {
      if (expr.kind === "comparison" && expr.right.kind === "set") {
        const { op, left, right } = expr;
        const all = right.values.map((value) => `${print(left, level.sum)} ${op} ${signed(value)}`);
        return all.join(` ${setOp(expr)} `);
      }
      const own = levelOf(expr);
      const isRight = expr.op === "^";
      const left = print(expr.left, isRight ? own + 1 : own);
      return `${left} ${expr.op} ${print(expr.right, isRight ? own : own + 1)}`;
    }
  }
}

/** Prints `&&` or `||`. Mixing them adds parentheses: few readers know their equal precedence. */
function printLogical(expr: Extract<FieldExpr, { kind: "logical" }>): string {
  const own = expr.left.kind === "logical" ? expr.left.op : setOp(expr.left);
  const isMixed = own !== undefined && own !== expr.op;
  const left = print(expr.left, isMixed ? level.comparison : level.logical);
  // A set prints as a chain of its members.
  const isPart = setOp(expr.right) === expr.op;
  return `${left} ${expr.op} ${print(expr.right, isPart ? level.logical : level.comparison)}`;
}

/** Returns the operator that joins the printed members of a comparison with a set. */
function setOp(expr: FieldExpr): "&&" | "||" | undefined {
  if (expr.kind !== "comparison" || expr.right.kind !== "set") return undefined;
  return expr.op === "=" ? "||" : "&&";
}

function signed(value: Static): string {
  return print({ kind: "static", static: value, range: { from: 0, to: 0 } }, level.sum);
}

function isNegative(value: Static): boolean {
  if (value.type === "int") return value.value < 0n && value.value !== int64Min;
  if (value.type === "duration") return value.value < 0n;
  return value.type === "float" && (value.value < 0 || Object.is(value.value, -0));
}

/** Returns the canonical text of a literal. */
export function formatStatic(value: Static): string {
  switch (value.type) {
    case "int":
      return value.value === int64Min ? "minInt" : String(value.value);
    case "float":
      return formatFloat(value.value);
    case "string":
      return JSON.stringify(value.value);
    case "duration":
      return formatDuration(value.value);
    case "nil":
      return "nil";
    default:
      return String(value.value);
  }
}

function formatFloat(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

/** Formats nanoseconds as Go does, without zero parts: `1h30m`, `1.5s`, `20ms`. */
function formatDuration(nanos: bigint): string {
  if (nanos < 0n) return `-${formatDuration(-nanos)}`;
  if (nanos === 0n) return "0s";
  for (const [unit, scale] of [
    ["ns", 1_000n],
    ["us", 1_000_000n],
    ["ms", 1_000_000_000n],
  ] as const) {
    if (nanos < scale) return `${decimal(nanos, scale / 1000n)}${unit}`;
  }
  const hours = nanos / 3_600_000_000_000n;
  const minutes = (nanos / 60_000_000_000n) % 60n;
  const rest = nanos % 60_000_000_000n;
  const seconds = rest === 0n ? "" : `${decimal(rest, 1_000_000_000n)}s`;
  return `${hours === 0n ? "" : `${hours}h`}${minutes === 0n ? "" : `${minutes}m`}${seconds}`;
}

/** Formats `value / scale` without trailing zeros; the scale is a power of ten. */
function decimal(value: bigint, scale: bigint): string {
  if (value % scale === 0n) return String(value / scale);
  const fraction = String((value % scale) + scale).slice(1);
  return `${value / scale}.${fraction.replace(/0+$/, "")}`;
}

function formatAttribute(scope: AttributeScope, name: string): string {
  const prefix = scope === "any" ? "." : `${scope}.`;
  const isPlain = !Array.from(name).some((char) => char === '"' || endsName(char.charCodeAt(0)));
  const isLikeNumber = scope === "any" && /^\d/.test(name);
  if (isPlain && !isLikeNumber) return prefix + name;
  return `${prefix}"${name.replaceAll(/["\\]/g, "\\$&")}"`;
}
