/**
 * Bloom filters over bytes, with the `bloom-filters` package's filter and a hash of our own: its
 * default hash is 60 times slower and hashes text. Bit positions come from two 32-bit hashes by
 * double hashing (Kirsch and Mitzenmacher, "Less hashing, same performance", 2006).
 *
 * A filter over 16 KiB is cut into shards by a third mix of the two hashes, so that one look-up
 * reads one shard. FORMAT.md describes the bytes; the hashes are part of the format.
 */
import bloomFilters from "bloom-filters";
import { SpoorError } from "#pkg/errors/errors.ts";
import { bloomHash } from "#pkg/otlp/trace-hash.ts";

const { BloomFilter } = bloomFilters;

/** False positives of a filter that has all the room it wants. */
export const bloomRate = 0.01;
/** Bits of one shard at the most: 16 KiB. */
export const shardBitsMax: number = 16 * 1024 * 8;

/** How to read a filter's bytes. */
export interface BloomShape {
  shards: number;
  bitsPerShard: number;
  hashes: number;
}

export interface BloomBytes extends BloomShape {
  /** One byte string per shard, each `bitsPerShard / 8` long. */
  bytes: Uint8Array[];
}

/** Two hashes of a value into `out`. */
export type BloomHasher = (value: Uint8Array, out: Uint32Array) => void;

/** Hashes of a 16-byte trace id. */
export const traceIdHasher: BloomHasher = (value, out) => bloomHash(value, 0, out);

/** Hashes of any bytes: FNV-1a with two offsets and murmur3's finaliser. */
export const bytesHasher: BloomHasher = (value, out) => {
  let a = 0x811c9dc5;
  let b = 0x2f0b4a27;
  for (const byte of value) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ byte, 0x01000193) + 0x5bd1e995;
  }
  out[0] = finish(a);
  out[1] = finish(b);
};

function finish(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A filter of `count` values with this share of false positives, 0 to 1. */
export function buildBloom(
  values: Iterable<Uint8Array>,
  count: number,
  hasher: BloomHasher,
  rate: number = bloomRate,
): BloomBytes {
  const ideal = BloomFilter.create(Math.max(1, count), rate);
  const shards = Math.max(1, Math.ceil(ideal.size / shardBitsMax));
  // Shards fill unevenly: 3 % more bits keep the fullest of them at the asked rate.
  const slack = shards === 1 ? 1 : 1.03;
  const bitsPerShard = Math.min(shardBitsMax, Math.ceil((ideal.size * slack) / shards / 8) * 8);
  const hashes = Math.max(1, Math.round((bitsPerShard * shards * Math.LN2) / Math.max(1, count)));
  const shape = { shards, bitsPerShard, hashes: Math.min(hashes, 16) };
  const filters = Array.from({ length: shards }, () => new PairFilter(shape));
  const pair = new Uint32Array(2);
  for (const value of values) {
    hasher(value, pair);
    filters[shardOf(pair, shards)].addPair(pair);
  }
  return { ...shape, bytes: filters.map((filter) => filter.bytes()) };
}

/** Share of false positives that a filter of so many bits per value has. */
export function bloomRateOf(bitsPerValue: number): number {
  return Math.exp(-bitsPerValue * Math.LN2 ** 2);
}

/** Which shard holds a value: the only one that a look-up reads. */
export function bloomShard(shape: BloomShape, value: Uint8Array, hasher: BloomHasher): number {
  const pair = new Uint32Array(2);
  hasher(value, pair);
  return shardOf(pair, shape.shards);
}

/**
 * Whether the shard's filter may hold the value. Throws Corrupt if the shard has the wrong size.
 */
export function bloomMayHold(
  shape: BloomShape,
  shard: Uint8Array,
  value: Uint8Array,
  hasher: BloomHasher,
): boolean {
  return new BloomShard(shape, shard, hasher).mayHold(value);
}

/** Pairs of hashes of ids of 16 bytes each, one after another: for `markBloom`. */
export function traceIdPairs(ids: Uint8Array): Uint32Array {
  const pairs = new Uint32Array((ids.length / 16) * 2);
  for (let at = 0; at < pairs.length; at += 2) bloomHash(ids, at * 8, pairs.subarray(at, at + 2));
  return pairs;
}

/** The shards that hold any of these values. */
export function bloomShards({ shards }: BloomShape, pairs: Uint32Array): Set<number> {
  const found = new Set<number>();
  for (let at = 0; at < pairs.length && found.size < shards; at += 2) {
    found.add(shards === 1 ? 0 : shardOf(pairs.subarray(at, at + 2), shards));
  }
  return found;
}

/**
 * Sets `marks[i]` to 1 where value i is of this shard and the shard's filter may hold it: what
 * `BloomShard` tells of one value, for very many. Throws Corrupt if the shard has the wrong size.
 */
export function markBloom(
  shape: BloomShape,
  shard: { index: number; bytes: Uint8Array },
  pairs: Uint32Array,
  marks: Uint8Array,
): void {
  const { shards, hashes } = shape;
  const { index, bytes } = shard;
  checkShardBytes(shape, bytes);
  // Unsigned on both sides: a remainder of doubles takes several times as long.
  const bits = shape.bitsPerShard >>> 0;
  for (let i = 0; i < marks.length; i++) {
    const first = pairs[i * 2];
    const second = pairs[i * 2 + 1];
    if (shards !== 1 && shardOfPair(first, second, shards) !== index) continue;
    let at = first | 0;
    let left = hashes;
    for (; left > 0; left--) {
      const bit = ((at >>> 0) % bits) >>> 0;
      if ((bytes[bit >>> 3] & (1 << (bit & 7))) === 0) break;
      at = (at + (second | 1)) | 0;
    }
    if (left === 0) marks[i] = 1;
  }
}

/** One shard, opened for many look-ups. */
export class BloomShard {
  readonly #filter: PairFilter;
  readonly #hasher: BloomHasher;
  readonly #pair = new Uint32Array(2);

  /** Throws Corrupt if the shard has the wrong size. */
  constructor(shape: BloomShape, shard: Uint8Array, hasher: BloomHasher) {
    checkShardBytes(shape, shard);
    this.#filter = new PairFilter(shape, shard);
    this.#hasher = hasher;
  }

  /** Whether the filter may hold the value; this must be the value's shard. */
  mayHold(value: Uint8Array): boolean {
    this.#hasher(value, this.#pair);
    return this.#filter.hasPair(this.#pair);
  }
}

function checkShardBytes({ bitsPerShard }: BloomShape, shard: Uint8Array): void {
  if (shard.length * 8 === bitsPerShard) return;
  const message = `bloom shard of ${shard.length} bytes, expected ${bitsPerShard / 8}`;
  throw new SpoorError("Corrupt", message);
}

/** The package's filter with positions from a given pair of hashes. */
class PairFilter extends BloomFilter {
  #pair: Uint32Array = new Uint32Array(2);

  constructor(shape: BloomShape, bytes?: Uint8Array) {
    super(shape.bitsPerShard, shape.hashes);
    if (bytes !== undefined) this._filter.array = Uint8Array.from(bytes);
    const positions: number[] = Array.from({ length: shape.hashes }, () => 0);
    this._hashing.getIndexes = (_element, size): number[] => {
      fillPositions(this.#pair[0], this.#pair[1], size, positions);
      return positions;
    };
  }

  addPair(pair: Uint32Array): void {
    this.#pair = pair;
    this.add("");
  }

  hasPair(pair: Uint32Array): boolean {
    this.#pair = pair;
    return this.has("");
  }

  bytes(): Uint8Array {
    return this._filter.array;
  }
}

/** Position i is (first + i * (second | 1)) mod 2^32 mod size. */
function fillPositions(first: number, second: number, size: number, out: number[]): void {
  const step = second | 1;
  let at = first | 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = (at >>> 0) % size;
    at = (at + step) | 0;
  }
}

function shardOf(pair: Uint32Array, shards: number): number {
  return shards === 1 ? 0 : shardOfPair(pair[0], pair[1], shards);
}

function shardOfPair(first: number, second: number, shards: number): number {
  return (Math.imul(first ^ (second >>> 13), 0x9e3779b1) >>> 0) % shards;
}
