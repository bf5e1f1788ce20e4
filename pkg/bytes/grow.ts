// HOT: appended to per span and per attribute; measured by `npm run bench` (decode).
/**
 * Typed arrays that grow by doubling, in SharedArrayBuffers, so that another thread can read a
 * closed head without a copy. Growing moves the values to a new buffer: an earlier view stays valid
 * for its values, and does not see later ones.
 */

/** Counts the capacity of all arrays of one owner, bytes. */
export class Ledger {
  sizeBytes = 0;
}

/** Data for another thread: the array with its full capacity, and the number of valid values. */
export interface GrownU32 {
  values: Uint32Array<SharedArrayBuffer>;
  length: number;
}

export class GrowU32 implements GrownU32 {
  values: Uint32Array<SharedArrayBuffer>;
  length = 0;
  readonly #ledger: Ledger;

  constructor(ledger: Ledger, capacity = 32) {
    this.values = new Uint32Array(new SharedArrayBuffer(capacity * 4));
    this.#ledger = ledger;
    ledger.sizeBytes += capacity * 4;
  }

  push(value: number): void {
    if (this.length === this.values.length) this.reserve(1);
    this.values[this.length++] = value;
  }

  push2(first: number, second: number): void {
    if (this.length + 2 > this.values.length) this.reserve(2);
    this.values[this.length] = first;
    this.values[this.length + 1] = second;
    this.length += 2;
  }

  /** Grows the capacity for `extra` more values if needed. */
  reserve(extra: number): void {
    const needed = this.length + extra;
    if (needed <= this.values.length) return;
    const capacity = Math.max(needed, this.values.length * 2);
    const grown = new Uint32Array(new SharedArrayBuffer(capacity * 4));
    grown.set(this.values.subarray(0, this.length));
    this.#ledger.sizeBytes += (capacity - this.values.length) * 4;
    this.values = grown;
  }
}

export class GrowU8 {
  values: Uint8Array<SharedArrayBuffer>;
  length = 0;
  readonly #ledger: Ledger;

  constructor(ledger: Ledger, capacity = 256) {
    this.values = new Uint8Array(new SharedArrayBuffer(capacity));
    this.#ledger = ledger;
    ledger.sizeBytes += capacity;
  }

  /** Appends src[start, end). A loop copies short pieces, because `set` is slower for them. */
  append(src: Uint8Array, start: number, end: number): void {
    const size = end - start;
    if (this.length + size > this.values.length) this.reserve(size);
    if (size > 48) {
      this.values.set(src.subarray(start, end), this.length);
      this.length += size;
      return;
    }
    const values = this.values;
    let at = this.length;
    for (let i = start; i < end; i++) values[at++] = src[i];
    this.length = at;
  }

  reserve(extra: number): void {
    const needed = this.length + extra;
    if (needed <= this.values.length) return;
    const capacity = Math.max(needed, this.values.length * 2);
    const grown = new Uint8Array(new SharedArrayBuffer(capacity));
    grown.set(this.values.subarray(0, this.length));
    this.#ledger.sizeBytes += capacity - this.values.length;
    this.values = grown;
  }
}
