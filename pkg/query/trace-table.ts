/**
 * A hash table that numbers trace ids in order of insertion. It uses open addressing over plain
 * arrays: an object and a string per trace would be most of the cost of a search over all traces.
 *
 *     slots   | -1 | 2 | -1 | 0 | 1 | ...     by hash of the id; linear probing
 *     ids     | id of place 0 | id of place 1 | id of place 2 |
 */
import { partitionHash, traceIdBytes } from "#pkg/otlp/otlp.ts";

const firstCapacity = 64;

export class TraceTable {
  #count = 0;
  #ids = new Uint8Array(firstCapacity * traceIdBytes);
  /** Place of the id in each slot, -1 if free; twice the capacity of `#ids`. */
  #slots = new Int32Array(firstCapacity * 2).fill(-1);

  /** Number of ids. Their places are 0, 1, 2, ... in order of insertion. */
  get count(): number {
    return this.#count;
  }

  /** Returns the place of the id at `offset` of `ids`; inserts the id if it is new. */
  place(ids: Uint8Array, offset: number): number {
    if (this.#count * traceIdBytes === this.#ids.length) this.#grow(this.#ids.length * 2);
    const slot = this.#slotOf(ids, offset);
    const known = this.#slots[slot];
    if (known >= 0) return known;
    this.#slots[slot] = this.#count;
    const at = this.#count * traceIdBytes;
    for (let i = 0; i < traceIdBytes; i++) this.#ids[at + i] = ids[offset + i];
    return this.#count++;
  }

  /** Reserves capacity for `count` more ids. */
  reserve(count: number): void {
    const wanted = (this.#count + count) * traceIdBytes;
    if (wanted <= this.#ids.length) return;
    let length = this.#ids.length * 2;
    while (length < wanted) length *= 2;
    this.#grow(length);
  }

  /** Returns the ids of the places, 16 bytes each. */
  idsOf(places: readonly number[]): Uint8Array {
    const ids = new Uint8Array(places.length * traceIdBytes);
    for (let i = 0; i < places.length; i++) {
      const from = places[i] * traceIdBytes;
      for (let at = 0; at < traceIdBytes; at++) ids[i * traceIdBytes + at] = this.#ids[from + at];
    }
    return ids;
  }

  /** Returns the id as 32 hex digits. */
  hex(place: number): string {
    const { buffer } = this.#ids;
    return Buffer.from(buffer, place * traceIdBytes, traceIdBytes).toString("hex");
  }

  /** Returns the slot of the id, or the free slot where it would be inserted. */
  #slotOf(ids: Uint8Array, offset: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    // All ids of a partition share the low bits of this hash. Without mixing they would use only
    // some of the slots.
    let slot = (Math.imul(partitionHash(ids, offset), 0x9e3779b1) >>> 7) & mask;
    while (slots[slot] >= 0 && !this.#isAt(slots[slot], ids, offset)) slot = (slot + 1) & mask;
    return slot;
  }

  #isAt(place: number, ids: Uint8Array, offset: number): boolean {
    const own = this.#ids;
    const at = place * traceIdBytes;
    for (let i = 0; i < traceIdBytes; i++) if (own[at + i] !== ids[offset + i]) return false;
    return true;
  }

  #grow(length: number): void {
    const grown = new Uint8Array(length);
    grown.set(this.#ids);
    this.#ids = grown;
    this.#slots = new Int32Array((grown.length / traceIdBytes) * 2).fill(-1);
    for (let place = 0; place < this.#count; place++) {
      this.#slots[this.#slotOf(grown, place * traceIdBytes)] = place;
    }
  }
}
