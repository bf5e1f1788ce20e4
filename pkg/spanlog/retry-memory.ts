/**
 * Which records one partition took in the last minutes, by a 128-bit hash, so that a client's
 * retry is answered without appending (decision 12). Hot: runs per record; benchmark
 * `file-log.bench.ts`.
 *
 *     ring      [ .. | e | e | e | e | e | .. ]     in the order of their offsets; 44 bytes each
 *                      ^ head (oldest)   ^ head + count
 *     buckets   [ slot + 1, 0, slot + 1, .. ]       by the first word of the hash
 *     next      [ slot + 1 of the next entry of the same bucket, 0 = none ]
 *
 * Times are by the monotonic clock of the process: a step of the wall clock neither forgets entries
 * nor keeps them. How old the entries of an earlier process are is not known, as the machine's
 * clock may have been stepped in between: they count for a whole window from the open of the log.
 *
 * Typed arrays: a million entries are 44 MB and no work for the garbage collector; a Map of
 * strings would be some 100 MB of small objects.
 */
import { createHash } from "node:crypto";
import { HASH_BYTES, readUint64, writeUint64 } from "./format.ts";

/** Bytes of one entry of `encodeRange`: hash, offset. */
export const RETRY_ENTRY_BYTES = 24;

const CAPACITY_MIN = 1024;

/**
 * The hash of a record that is appended without a request key: SHA-1 cut to 128 bits, the fastest
 * of OpenSSL's for 35 KB (0.19 CPU s per million spans; SHA-256 0.23, BLAKE2b 0.37, MD5 0.48).
 * Only a second pre-image could suppress a foreign record, and only inside of the attacker's own
 * tenant; SHA-1 resists that.
 */
export function hashRecord(
  partition: number,
  tenant: string,
  parts: readonly Uint8Array[],
): Buffer {
  const hash = createHash("sha1").update(`${partition}/${tenant.length}/${tenant}/`);
  for (const part of parts) hash.update(part);
  return hash.digest().subarray(0, HASH_BYTES);
}

/**
 * The key of a request as it was received, before anything is cut from it: all of its records carry
 * it. Of the same hash as a record's.
 */
export function requestKey(tenant: string, body: Uint8Array): Buffer {
  const hash = createHash("sha1").update(`request/${tenant.length}/${tenant}/`);
  return hash.update(body).digest().subarray(0, HASH_BYTES);
}

export interface RetryMemoryOptions {
  /** How long an entry counts, milliseconds. */
  windowMs: number;
  /** At most so many entries; beyond that the oldest is forgotten early. */
  entriesMax: number;
}

export class RetryMemory {
  /** Entries that were forgotten before their time because there were too many. */
  evicted = 0;

  readonly #options: RetryMemoryOptions;
  #capacity = 0;
  #head = 0;
  #count = 0;
  #lastOffset = -1;
  #words = new Uint32Array(0);
  #offsets = new Float64Array(0);
  #times = new Float64Array(0);
  #next = new Uint32Array(0);
  #buckets = new Uint32Array(0);

  constructor(options: RetryMemoryOptions) {
    this.#options = options;
    this.#resize(Math.min(CAPACITY_MIN, Math.max(1, options.entriesMax)));
  }

  get count(): number {
    return this.#count;
  }

  /** The offset of the record with this hash, or -1 if none is remembered. */
  find(hash: Buffer, nowMs: number): number {
    const w0 = hash.readUInt32LE(0);
    const w1 = hash.readUInt32LE(4);
    const w2 = hash.readUInt32LE(8);
    const w3 = hash.readUInt32LE(12);
    const words = this.#words;
    let link = this.#buckets[w0 % this.#capacity];
    while (link !== 0) {
      const slot = link - 1;
      const at = slot * 4;
      if (
        words[at] === w0 &&
        words[at + 1] === w1 &&
        words[at + 2] === w2 &&
        words[at + 3] === w3
      ) {
        if (this.#isRecent(this.#times[slot], nowMs)) return this.#offsets[slot];
      }
      link = this.#next[slot];
    }
    return -1;
  }

  /**
   * Remembers a record that became durable at `nowMs`. Offsets and times must rise; an offset that
   * does not is known already and left out.
   */
  add(hash: Buffer, offset: number, nowMs: number): void {
    if (offset <= this.#lastOffset) return;
    this.expire(nowMs);
    if (this.#count === this.#capacity && this.#capacity === this.#options.entriesMax) {
      this.#dropOldest();
      this.evicted++;
    }
    this.#push(hash, offset, nowMs);
  }

  /** Takes over an entry of an earlier process, whose age is not known, when the log is opened. */
  recover(hash: Buffer, offset: number, nowMs: number): void {
    if (offset <= this.#lastOffset) return;
    if (this.#count === this.#options.entriesMax) this.#dropOldest();
    this.#push(hash, offset, nowMs);
  }

  /** Forgets what is too old to count. */
  expire(nowMs: number): void {
    while (this.#count > 0 && !this.#isRecent(this.#times[this.#head], nowMs)) this.#dropOldest();
  }

  /** The least offset that is remembered; undefined if none is. */
  get firstOffset(): number | undefined {
    return this.#count === 0 ? undefined : this.#offsets[this.#head];
  }

  /** The entries of [fromOffset, toOffset) that still count, RETRY_ENTRY_BYTES each. */
  encodeRange(fromOffset: number, toOffset: number, nowMs: number): Buffer {
    this.expire(nowMs);
    const from = this.#lowerBound(fromOffset);
    const to = this.#lowerBound(toOffset);
    const out = Buffer.alloc((to - from) * RETRY_ENTRY_BYTES);
    let pos = 0;
    for (let i = from; i < to; i++) {
      const slot = (this.#head + i) % this.#capacity;
      for (let w = 0; w < 4; w++) out.writeUInt32LE(this.#words[slot * 4 + w], pos + w * 4);
      writeUint64(out, pos + 16, this.#offsets[slot]);
      pos += RETRY_ENTRY_BYTES;
    }
    return out;
  }

  /** Takes over what `encodeRange` made, in this process or an earlier one. */
  recoverEncoded(entries: Buffer, nowMs: number): void {
    for (let pos = 0; pos + RETRY_ENTRY_BYTES <= entries.length; pos += RETRY_ENTRY_BYTES) {
      this.recover(entries.subarray(pos, pos + HASH_BYTES), readUint64(entries, pos + 16), nowMs);
    }
  }

  #isRecent(addedMs: number, nowMs: number): boolean {
    return nowMs - addedMs < this.#options.windowMs;
  }

  /** There is room, or the capacity may grow. */
  #push(hash: Buffer, offset: number, nowMs: number): void {
    this.#lastOffset = offset;
    if (this.#count === this.#capacity) {
      this.#resize(Math.min(this.#capacity * 2, this.#options.entriesMax));
    }
    const slot = (this.#head + this.#count) % this.#capacity;
    for (let i = 0; i < 4; i++) this.#words[slot * 4 + i] = hash.readUInt32LE(i * 4);
    this.#offsets[slot] = offset;
    this.#times[slot] = nowMs;
    this.#count++;
    this.#link(slot);
  }

  #link(slot: number): void {
    const bucket = this.#words[slot * 4] % this.#capacity;
    this.#next[slot] = this.#buckets[bucket];
    this.#buckets[bucket] = slot + 1;
  }

  #dropOldest(): void {
    const slot = this.#head;
    const bucket = this.#words[slot * 4] % this.#capacity;
    // New entries go to the front, so the oldest ends its chain.
    let before = -1;
    let link = this.#buckets[bucket];
    while (link !== slot + 1) {
      before = link - 1;
      link = this.#next[before];
    }
    if (before < 0) this.#buckets[bucket] = this.#next[slot];
    else this.#next[before] = this.#next[slot];
    this.#head = (slot + 1) % this.#capacity;
    this.#count--;
  }

  #resize(capacity: number): void {
    const words = new Uint32Array(capacity * 4);
    const offsets = new Float64Array(capacity);
    const times = new Float64Array(capacity);
    for (let i = 0; i < this.#count; i++) {
      const slot = (this.#head + i) % this.#capacity;
      words.set(this.#words.subarray(slot * 4, slot * 4 + 4), i * 4);
      offsets[i] = this.#offsets[slot];
      times[i] = this.#times[slot];
    }
    this.#capacity = capacity;
    this.#head = 0;
    this.#words = words;
    this.#offsets = offsets;
    this.#times = times;
    this.#next = new Uint32Array(capacity);
    this.#buckets = new Uint32Array(capacity);
    for (let i = 0; i < this.#count; i++) this.#link(i);
  }

  /** Index (0 = oldest) of the first entry whose offset is not below `offset`. */
  #lowerBound(offset: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.#offsets[(this.#head + mid) % this.#capacity] < offset) low = mid + 1;
      else high = mid;
    }
    return low;
  }
}
