/**
 * Remembers the records of one partition from the last minutes by a 128-bit hash, so that a
 * client's retry is acknowledged without a second append. Hot: runs per record; benchmark
 * `file-log.bench.ts`.
 *
 *     ring      [ .. | e | e | e | e | e | .. ]     in order of their offsets; 44 bytes each
 *                      ^ head (oldest)   ^ head + count
 *     buckets   [ slot + 1, 0, slot + 1, .. ]       by the first word of the hash
 *     next      [ slot + 1 of the next entry of the same bucket, 0 = none ]
 *
 * Times are by the monotonic clock of the process, so a step of the wall clock has no effect. The
 * age of entries from an earlier process is unknown, because the machine's clock may have been
 * stepped in between: they are kept for a whole window from the opening of the log.
 *
 * Typed arrays hold a million entries in 44 MB, without work for the garbage collector. A Map of
 * strings would need about 100 MB of small objects.
 */
import { createHash } from "node:crypto";
import { HASH_BYTES, readUint64, writeUint64 } from "./format.ts";

/** Bytes of one entry of `encodeRange`: hash, offset. */
export const RETRY_ENTRY_BYTES = 24;

const CAPACITY_MIN = 1024;

/**
 * Returns the hash of a record that is appended without a request key: SHA-1 cut to 128 bits, the
 * fastest hash of OpenSSL for 35 KB (0.19 CPU s per million spans; SHA-256 0.23, BLAKE2b 0.37, MD5
 * 0.48). Only a second pre-image could suppress a record, and only one of the attacker's own
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
 * Returns the key of a request as received, before anything is cut from it. All of the request's
 * records carry the key. Uses the hash function of `hashRecord`.
 */
export function requestKey(tenant: string, body: Uint8Array): Buffer {
  const hash = createHash("sha1").update(`request/${tenant.length}/${tenant}/`);
  return hash.update(body).digest().subarray(0, HASH_BYTES);
}

export interface RetryMemoryOptions {
  /** Lifetime of an entry, milliseconds. */
  windowMs: number;
  /** Maximum number of entries; beyond it the oldest is evicted. */
  entriesMax: number;
}

export class RetryMemory {
  /** Entries that were evicted before they expired. */
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

  /** Returns the offset of the record with this hash, or -1 if none is remembered. */
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
   * Remembers a record that became durable at `nowMs`. Offsets and times must increase; an offset
   * that does not is known already and is ignored.
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

  /** Adds an entry of an earlier process, whose age is unknown, when the log is opened. */
  recover(hash: Buffer, offset: number, nowMs: number): void {
    if (offset <= this.#lastOffset) return;
    if (this.#count === this.#options.entriesMax) this.#dropOldest();
    this.#push(hash, offset, nowMs);
  }

  /** Removes expired entries. */
  expire(nowMs: number): void {
    while (this.#count > 0 && !this.#isRecent(this.#times[this.#head], nowMs)) this.#dropOldest();
  }

  /** The least remembered offset; undefined if there is none. */
  get firstOffset(): number | undefined {
    return this.#count === 0 ? undefined : this.#offsets[this.#head];
  }

  /** Encodes the unexpired entries of [fromOffset, toOffset), RETRY_ENTRY_BYTES each. */
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

  /** Adds the entries of a result of `encodeRange`, of this or an earlier process. */
  recoverEncoded(entries: Buffer, nowMs: number): void {
    for (let pos = 0; pos + RETRY_ENTRY_BYTES <= entries.length; pos += RETRY_ENTRY_BYTES) {
      this.recover(entries.subarray(pos, pos + HASH_BYTES), readUint64(entries, pos + 16), nowMs);
    }
  }

  #isRecent(addedMs: number, nowMs: number): boolean {
    return nowMs - addedMs < this.#options.windowMs;
  }

  /** Adds an entry. The ring must have a free slot, or its capacity below the maximum. */
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
    // New entries are added at the front of a chain, so the oldest is at its end.
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

  /** Returns the index (0 = oldest) of the first entry whose offset is not below `offset`. */
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
