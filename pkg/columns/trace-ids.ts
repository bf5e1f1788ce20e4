// HOT: one lookup per span; measured by `npm run bench` (decode).
/**
 * Interns 16-byte trace ids. Each id is four big-endian 32-bit words in shared memory; the hash
 * table (open addressing, at most half full) is private to the thread that fills it.
 */
import { GrowU32, type Ledger } from "#pkg/bytes/bytes.ts";

export class TraceIds {
  /** Four words per id. */
  readonly words: GrowU32;
  readonly #seed: number;
  #table: Int32Array;

  constructor(ledger: Ledger, seed: number) {
    this.words = new GrowU32(ledger, 256);
    this.#seed = seed;
    this.#table = new Int32Array(128).fill(-1);
  }

  get length(): number {
    return this.words.length >>> 2;
  }

  /** Returns the code of the id at src[pos, pos + 16); adds the id if it is new. */
  intern(src: Uint8Array, pos: number): number {
    const a = word(src, pos);
    const b = word(src, pos + 4);
    const c = word(src, pos + 8);
    const d = word(src, pos + 12);
    const words = this.words.values;
    const mask = this.#table.length - 1;
    let slot = this.#hash(a, b, c, d) & mask;
    for (;;) {
      const code = this.#table[slot];
      if (code < 0) break;
      const at = code * 4;
      if (words[at + 3] === d && words[at + 2] === c && words[at + 1] === b && words[at] === a) {
        return code;
      }
      slot = (slot + 1) & mask;
    }
    const code = this.length;
    this.words.push2(a, b);
    this.words.push2(c, d);
    this.#table[slot] = code;
    if (this.length * 2 > this.#table.length) this.#grow();
    return code;
  }

  /** Returns the code of the id at src[pos, pos + 16), or -1. */
  find(src: Uint8Array, pos: number): number {
    const a = word(src, pos);
    const b = word(src, pos + 4);
    const c = word(src, pos + 8);
    const d = word(src, pos + 12);
    const words = this.words.values;
    const mask = this.#table.length - 1;
    let slot = this.#hash(a, b, c, d) & mask;
    for (; this.#table[slot] >= 0; slot = (slot + 1) & mask) {
      const at = this.#table[slot] * 4;
      if (words[at + 3] === d && words[at + 2] === c && words[at + 1] === b && words[at] === a) {
        return this.#table[slot];
      }
    }
    return -1;
  }

  #hash(a: number, b: number, c: number, d: number): number {
    let hash = Math.imul(a ^ this.#seed, 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ b, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13) ^ c, 0xc2b2ae35);
    hash = Math.imul(hash ^ (hash >>> 16) ^ d, 0x27d4eb2f);
    return (hash ^ (hash >>> 15)) >>> 0;
  }

  #grow(): void {
    const table = new Int32Array(this.#table.length * 4).fill(-1);
    const mask = table.length - 1;
    const words = this.words.values;
    for (let code = 0; code < this.length; code++) {
      const at = code * 4;
      let slot = this.#hash(words[at], words[at + 1], words[at + 2], words[at + 3]) & mask;
      while (table[slot] >= 0) slot = (slot + 1) & mask;
      table[slot] = code;
    }
    this.#table = table;
  }
}

function word(src: Uint8Array, pos: number): number {
  return ((src[pos] << 24) | (src[pos + 1] << 16) | (src[pos + 2] << 8) | src[pos + 3]) >>> 0;
}
