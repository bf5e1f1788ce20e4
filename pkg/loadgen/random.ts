// HOT: runs several times per span; measured by `npm run bench` (generate).
/** A seeded random number generator ("mulberry32"). */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Returns 32 random bits as an unsigned number. */
  uint32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** Returns a number in [0, 1). */
  float(): number {
    return this.uint32() / 4_294_967_296;
  }

  /** Returns an integer in [0, bound); `bound` is at most 2^32. */
  below(bound: number): number {
    return Math.floor((this.uint32() / 4_294_967_296) * bound);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
}
