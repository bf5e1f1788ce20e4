// HOT: one lookup per string value of a span; measured by `npm run bench` (decode).
/**
 * Interns byte strings: equal bytes get the same code, 0, 1, 2 ... in order of first appearance.
 *
 *     bytes    | G E T | P O S T | ...         all values, one after another
 *     offsets  | 0 | 3 | 7 | ...               value i is bytes[offsets[i], offsets[i + 1])
 *     table    | -1 | 1 | -1 | 0 | ...         open addressing, linear probing, at most half full
 *
 * Bytes and offsets are shared memory (they go to the cutter thread); the hash table is private.
 * The hash multiplies and rotates word by word (as FxHash does), with a seed per dictionary and
 * murmur3's finaliser, so that a client cannot easily choose values that collide.
 */
import { isUtf8 } from "node:buffer";
import { GrowU32, GrowU8, type Ledger } from "#pkg/bytes/bytes.ts";
import type { ByteValues } from "./column-batch.ts";

export class ByteDictionary {
  readonly #bytes: GrowU8;
  readonly #offsets: GrowU32;
  readonly #seed: number;
  readonly #ledger: Ledger;
  #table: Int32Array;
  #hashes: Uint32Array;
  #length = 0;
  #lastHash = 0;
  /** Values that were not UTF-8 and were repaired (`internText` only). */
  repairedCount = 0;

  constructor(ledger: Ledger, seed: number) {
    this.#ledger = ledger;
    this.#bytes = new GrowU8(ledger);
    this.#offsets = new GrowU32(ledger);
    this.#offsets.push(0);
    this.#seed = seed;
    this.#table = new Int32Array(32).fill(-1);
    this.#hashes = new Uint32Array(16);
    ledger.sizeBytes += 192;
  }

  get length(): number {
    return this.#length;
  }

  /** Returns a view of all values so far, without later ones. */
  values(): ByteValues {
    return {
      bytes: this.#bytes.values,
      offsets: this.#offsets.values,
      length: this.#length,
    };
  }

  /** Returns the code of src[start, end); adds the value if it is new. */
  intern(src: Uint8Array, start: number, end: number): number {
    this.#hash(src, start, end);
    return this.#internHashed(src, start, end, this.#lastHash);
  }

  /** As `intern`; a new value that is not UTF-8 is repaired with U+FFFD and counted. */
  internText(src: Uint8Array, start: number, end: number): number {
    const bits = this.#hash(src, start, end);
    if ((bits & 0x80808080) !== 0 && !isUtf8(src.subarray(start, end))) {
      this.repairedCount++;
      const repaired = Buffer.from(Buffer.from(src.subarray(start, end)).toString("utf8"), "utf8");
      return this.intern(repaired, 0, repaired.length);
    }
    return this.#internHashed(src, start, end, this.#lastHash);
  }

  /**
   * Hashes four bytes per step into `#lastHash`: one multiplication per word instead of one per
   * byte. Returns all words or-ed together; the high bit of a byte is set if it is not ASCII.
   */
  #hash(src: Uint8Array, start: number, end: number): number {
    let hash = this.#seed ^ (end - start);
    let bits = 0;
    let i = start;
    for (; i + 4 <= end; i += 4) {
      const word = src[i] | (src[i + 1] << 8) | (src[i + 2] << 16) | (src[i + 3] << 24);
      bits |= word;
      hash = Math.imul(hash ^ word, 0x9e3779b1);
      hash = (hash << 13) | (hash >>> 19);
    }
    let rest = 0;
    for (; i < end; i++) rest = (rest << 8) | src[i];
    bits |= rest;
    hash = Math.imul(hash ^ rest, 0x9e3779b1);
    this.#lastHash = finish(hash);
    return bits;
  }

  #internHashed(src: Uint8Array, start: number, end: number, hash: number): number {
    const table = this.#table;
    const mask = table.length - 1;
    let slot = hash & mask;
    for (;;) {
      const code = table[slot];
      if (code < 0) break;
      if (this.#hashes[code] === hash && this.#equals(code, src, start, end)) return code;
      slot = (slot + 1) & mask;
    }
    const code = this.#length;
    if (code === this.#hashes.length) this.#grow();
    this.#hashes[code] = hash;
    this.#bytes.append(src, start, end);
    this.#offsets.push(this.#bytes.length);
    this.#length = code + 1;
    this.#insert(code, hash);
    return code;
  }

  #equals(code: number, src: Uint8Array, start: number, end: number): boolean {
    const from = this.#offsets.values[code];
    if (this.#offsets.values[code + 1] - from !== end - start) return false;
    const bytes = this.#bytes.values;
    for (let i = start, j = from; i < end; i++, j++) {
      if (bytes[j] !== src[i]) return false;
    }
    return true;
  }

  #insert(code: number, hash: number): void {
    const mask = this.#table.length - 1;
    let slot = hash & mask;
    while (this.#table[slot] >= 0) slot = (slot + 1) & mask;
    this.#table[slot] = code;
  }

  #grow(): void {
    const capacity = this.#hashes.length * 2;
    const hashes = new Uint32Array(capacity);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    this.#table = new Int32Array(capacity * 2).fill(-1);
    this.#ledger.sizeBytes += capacity * 6;
    for (let code = 0; code < this.#length; code++) this.#insert(code, hashes[code]);
  }
}

/** Murmur3's 32-bit finaliser (public domain, Austin Appleby). */
function finish(value: number): number {
  let hash = value ^ (value >>> 16);
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
