// HOT: runs per event and link of searches that name them; measured by filter.bench.ts.
/** Values of the events or links of each row, tested by a predicate. */
import type { Pass } from "./passes.ts";
import type { Predicate } from "./predicate.ts";
import type { Value } from "./values.ts";

/** The items of row r have the codes from offsets[r] to offsets[r + 1]. */
export interface ItemCodes {
  offsets: Int32Array;
  codes: Int32Array;
}

/** Values of the events or links of each row. */
export class ItemValues {
  readonly #offsets: Int32Array | undefined;
  readonly #codes: Int32Array;
  readonly #known = new Map<number, Value | undefined>();
  readonly #make: (code: number) => Value | undefined;

  constructor(items: ItemCodes | undefined, make: (code: number) => Value | undefined) {
    this.#offsets = items?.offsets;
    this.#codes = items?.codes ?? new Int32Array(0);
    this.#make = make;
  }

  count(row: number): number {
    return this.#offsets === undefined ? 0 : this.#offsets[row + 1] - this.#offsets[row];
  }

  item(row: number, index: number): Value | undefined {
    return this.#at(this.#offsets![row] + index);
  }

  /** Returns whether any item of the row has a value. */
  has(row: number): boolean {
    const count = this.count(row);
    for (let i = 0; i < count; i++) if (this.item(row, i) !== undefined) return true;
    return false;
  }

  /** Sets a hit if the predicate holds for any item's value. Tests all items: one may throw. */
  test(predicate: Predicate, { pending, hits }: Pass): void {
    const known = new Map<number, number>();
    for (let row = 0; row < pending.length; row++) {
      if (pending[row] === 0) continue;
      const count = this.count(row);
      for (let i = 0; i < count; i++) {
        const at = this.#offsets![row] + i;
        const code = this.#codes[at];
        let hit = known.get(code);
        if (hit === undefined) {
          const value = this.#at(at);
          hit = value === undefined ? -1 : predicate.value(value) ? 1 : 0;
          known.set(code, hit);
        }
        if (hit < 0) continue;
        pending[row] = 0;
        if (hit === 1) hits[row] = 1;
      }
    }
  }

  #at(at: number): Value | undefined {
    const code = this.#codes[at];
    if (this.#known.has(code)) return this.#known.get(code);
    const value = this.#make(code);
    this.#known.set(code, value);
    return value;
  }
}
