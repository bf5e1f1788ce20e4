// HOT: appended to per span and per attribute; measured by `npm run bench` (decode).
/**
 * Typed arrays that grow by doubling, in SharedArrayBuffers, so that a closed head can be read by
 * another thread without a copy. Growing moves to a new buffer: a view taken before stays valid for
 * the values it had, and never sees later ones.
 */

/** Counts the capacity that all arrays of one owner hold, bytes. */
export class Ledger {
  sizeBytes = 0;
}

/** What crosses to another thread: the buffer's array and how many of its values count. */
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

  /** Makes room for `extra` more values. */
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

  /** Appends src[start, end). Short pieces are copied by a loop: `set` costs more than it saves. */
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
