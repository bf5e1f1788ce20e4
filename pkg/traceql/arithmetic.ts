/** Arithmetic of TraceQL, shared by constant folding and by the evaluation of spans. */
import type { ArithmeticOp } from "./ast.ts";

/** A number of the language; durations are nanoseconds. */
export type NumberOperand =
  | { type: "int" | "duration"; value: bigint }
  | { type: "float"; value: number };

/** Returns nanoseconds if the result is an exact duration; undefined otherwise. */
export function exactDuration(
  op: ArithmeticOp,
  left: NumberOperand,
  right: NumberOperand,
): bigint | undefined {
  if (left.type === "float" || right.type === "float") return undefined;
  const isBoth = left.type === "duration" && right.type === "duration";
  if (isBoth && op === "+") return left.value + right.value;
  if (isBoth && op === "-") return left.value - right.value;
  if (!isBoth && op === "*") return left.value * right.value;
  const isShare = left.type === "duration" && !isBoth && op === "/" && right.value !== 0n;
  return isShare && left.value % right.value === 0n ? left.value / right.value : undefined;
}

/** Computes the result as a double by IEEE 754: division by zero is infinite or NaN. */
export function floatResult(op: ArithmeticOp, left: number, right: number): number {
  switch (op) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    case "%":
      return left % right;
    default:
      return left ** right;
  }
}
