// HOT: a look per trace of a row group; measured by `npm run bench:search`.
/** A hash index over a list of trace ids (16 bytes each), without a string per id. */

const idBytes = 16;

export class TraceIdIndex {
  readonly count: number;
  readonly #ids: Uint8Array;
  /** Index of the id in the list, by hash; -1 if free. Open addressing. */
  readonly #slots: Int32Array;
  /** The next index with the same id, -1 for none. */
  readonly #next: Int32Array;

  constructor(ids: Uint8Array) {
    this.#ids = ids;
    this.count = Math.floor(ids.length / idBytes);
    let size = 16;
    while (size < this.count * 4) size *= 2;
    this.#slots = new Int32Array(size).fill(-1);
    this.#next = new Int32Array(this.count).fill(-1);
    // Backwards, so that a lookup finds the first of several equal ids.
    for (let place = this.count - 1; place >= 0; place--) {
      const slot = this.#slotOf(ids, place * idBytes);
      this.#next[place] = this.#slots[slot];
      this.#slots[slot] = place;
    }
  }

  /** Returns the first index of the id at `offset` of `bytes`, -1 if it is not in the list. */
  find(bytes: Uint8Array, offset: number): number {
    return this.#slots[this.#slotOf(bytes, offset)];
  }

  /** Returns the next index with the same id, -1 if there is none. */
  next(place: number): number {
    return this.#next[place];
  }

  /** Returns the slot of the id, or the free slot where it would be inserted. */
  #slotOf(bytes: Uint8Array, offset: number): number {
    const mask = this.#slots.length - 1;
    let hash = 0;
    for (let i = 0; i < idBytes; i += 4) {
      const at = offset + i;
      const word = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
      hash = Math.imul(hash ^ word, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    let slot = hash & mask;
    for (; this.#slots[slot] >= 0; slot = (slot + 1) & mask) {
      if (this.#isAt(this.#slots[slot] * idBytes, bytes, offset)) break;
    }
    return slot;
  }

  #isAt(at: number, bytes: Uint8Array, offset: number): boolean {
    const own = this.#ids;
    for (let i = idBytes - 1; i >= 0; i--) if (own[at + i] !== bytes[offset + i]) return false;
    return true;
  }
}
