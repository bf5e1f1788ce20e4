// HOT: runs per row of searches that name the tree of a trace; measured by `npm run bench:search`.
/** 32-bit integers, one per row, as values of the language: nested-set numbers and counts. */
import { type NumberRows, numberKinds } from "./number-values.ts";
import type { Pass } from "./passes.ts";
import type { Predicate } from "./predicate.ts";
import type { RowValues } from "./row-values.ts";
import type { Value } from "./values.ts";

const int32Min = -(2n ** 31n);
const int32Max = 2n ** 31n - 1n;

export class SmallIntValues implements RowValues {
  readonly #values: Int32Array;

  constructor(values: Int32Array) {
    this.#values = values;
  }

  get(row: number): Value {
    return { type: "int", value: BigInt(this.#values[row]) };
  }

  test(predicate: Predicate, { pending, hits }: Pass): void {
    const values = this.#values;
    const { ints } = predicate;
    if (ints === undefined) {
      for (let row = 0; row < pending.length; row++) {
        if (pending[row] === 1) hits[row] = predicate.value(this.get(row)) ? 1 : 0;
      }
      pending.fill(0);
      return;
    }
    // An empty range stays empty when clamped: its minimum is above its maximum.
    const min = Number(ints.min < int32Min ? int32Min : ints.min);
    const max = Number(ints.max > int32Max ? int32Max : ints.max);
    const outside = ints.isInside ? 0 : 1;
    for (let row = 0; row < pending.length; row++) {
      const isIn = +(values[row] >= min) & +(values[row] <= max);
      hits[row] |= pending[row] & (isIn ^ outside);
    }
    pending.fill(0);
  }

  numbers(pending: Uint8Array, out: NumberRows): void {
    const values = this.#values;
    for (let row = 0; row < pending.length; row++) {
      out.values[row] = values[row];
      out.kinds[row] = numberKinds.int;
    }
    pending.fill(0);
  }
}
