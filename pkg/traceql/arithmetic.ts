/** Arithmetic of TraceQL, the same for constants in a query and for values of spans. */
import type { ArithmeticOp } from "./ast.ts";

/** A number of the language; durations are nanoseconds. */
export type NumberOperand =
  | { type: "int" | "duration"; value: bigint }
  | { type: "float"; value: number };

/** Nanoseconds where the result is a duration and exact. */
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

/** The result as a double, as IEEE 754 has it: division by zero is infinite or not a number. */
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
