// HOT: runs per row of every condition with arithmetic; measured by filter.bench.ts.
/** Conversion of values to the numbers that number-rows.ts uses. */
import { wordPairs } from "#pkg/columns/columns.ts";
import type { Value } from "./values.ts";

/**
 * Kinds of a row's number. `unsure`: a double cannot hold the value, or the value could be an
 * error, so the row must be evaluated alone.
 */
export const numberKinds = { none: 0, int: 1, duration: 2, float: 3, unsure: 4 } as const;

/** One number per row. */
export interface NumberRows {
  values: Float64Array;
  /** The kind of each, one of `numberKinds`. */
  kinds: Uint8Array;
}

/** Reads integers as doubles; those beyond 2^53 are `unsure`. */
export function readInts(
  values: BigInt64Array,
  { valid, kind }: { valid: Uint8Array | undefined; kind: number },
  pending: Uint8Array,
  out: NumberRows,
): void {
  const words = wordPairs(values);
  for (let row = 0; row < pending.length; row++) {
    if (pending[row] === 0) continue;
    if (valid !== undefined && (valid[row >> 3] & (1 << (row & 7))) === 0) continue;
    pending[row] = 0;
    const value = words[row * 2 + 1] * 0x1_0000_0000 + (words[row * 2] >>> 0);
    out.values[row] = value;
    out.kinds[row] = Number.isSafeInteger(value) ? kind : numberKinds.unsure;
  }
}

/** Reads values of any kind one by one. */
export function numbersOfEach(
  values: { get(row: number): Value | undefined },
  pending: Uint8Array,
  out: NumberRows,
): void {
  for (let row = 0; row < pending.length; row++) {
    if (pending[row] === 0) continue;
    const value = values.get(row);
    if (value === undefined) continue;
    pending[row] = 0;
    if (value.type === "array") out.kinds[row] = numberKinds.unsure;
    if (value.type !== "int" && value.type !== "duration" && value.type !== "float") continue;
    const number = Number(value.value);
    const isExact = value.type === "float" || Number.isSafeInteger(number);
    out.values[row] = number;
    out.kinds[row] = isExact ? numberKinds[value.type] : numberKinds.unsure;
  }
}
