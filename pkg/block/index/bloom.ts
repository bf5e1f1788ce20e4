/**
 * Bloom filters over bytes. They use the filter of the `bloom-filters` package with our own hash:
 * the package's hash is 60 times slower and takes text. Bit positions come from two 32-bit hashes
 * by double hashing (Kirsch and Mitzenmacher, "Less hashing, same performance", 2006).
 *
 * A filter over 16 KiB is split into shards. A mix of the two hashes selects the shard, so a
 * look-up reads one shard. FORMAT.md describes the bytes; the hashes are part of the format.
 */
import bloomFilters from "bloom-filters";
import { SpoorError } from "#pkg/errors/errors.ts";
import { bloomHash } from "#pkg/otlp/otlp.ts";

const { BloomFilter } = bloomFilters;

/** Share of false positives of a filter whose size is not limited. */
export const bloomRate = 0.01;
/** Most bits of one shard: 16 KiB. */
export const shardBitsMax: number = 16 * 1024 * 8;

/** The parameters needed to read a filter's bytes. */
export interface BloomShape {
  shards: number;
  bitsPerShard: number;
  hashes: number;
}

export interface BloomBytes extends BloomShape {
  /** One byte string per shard, each `bitsPerShard / 8` long. */
  bytes: Uint8Array[];
}

/** Writes two hashes of a value to `out`. */
export type BloomHasher = (value: Uint8Array, out: Uint32Array) => void;

/** Hashes a 16-byte trace id. */
export const traceIdHasher: BloomHasher = (value, out) => bloomHash(value, 0, out);

/** Hashes any bytes with FNV-1a, two offset bases and murmur3's finaliser. */
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

/** Builds a filter of `count` values; `rate` is the share of false positives, 0 to 1. */
export function buildBloom(
  values: Iterable<Uint8Array>,
  count: number,
  hasher: BloomHasher,
  rate: number = bloomRate,
): BloomBytes {
  const ideal = BloomFilter.create(Math.max(1, count), rate);
  const shards = Math.max(1, Math.ceil(ideal.size / shardBitsMax));
  // Shards fill unevenly: 3 % more bits keep the fullest shard at the requested rate.
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

/** Returns the share of false positives of a filter with this many bits per value. */
export function bloomRateOf(bitsPerValue: number): number {
  return Math.exp(-bitsPerValue * Math.LN2 ** 2);
}

/** Returns the index of the shard that a look-up of this value reads. */
export function bloomShard(shape: BloomShape, value: Uint8Array, hasher: BloomHasher): number {
  const pair = new Uint32Array(2);
  hasher(value, pair);
  return shardOf(pair, shape.shards);
}

/**
 * Returns whether the shard's filter may hold the value. Throws Corrupt if the shard has the wrong
 * size.
 */
export function bloomMayHold(
  shape: BloomShape,
  shard: Uint8Array,
  value: Uint8Array,
  hasher: BloomHasher,
): boolean {
  return new BloomShard(shape, shard, hasher).mayHold(value);
}

/** Hashes contiguous 16-byte ids. Returns contiguous pairs of hashes, for `markBloom`. */
export function traceIdPairs(ids: Uint8Array): Uint32Array {
  const pairs = new Uint32Array((ids.length / 16) * 2);
  for (let at = 0; at < pairs.length; at += 2) bloomHash(ids, at * 8, pairs.subarray(at, at + 2));
  return pairs;
}

/** Returns the indexes of the shards that look-ups of these values read. */
export function bloomShards({ shards }: BloomShape, pairs: Uint32Array): Set<number> {
  const found = new Set<number>();
  for (let at = 0; at < pairs.length && found.size < shards; at += 2) {
    found.add(shards === 1 ? 0 : shardOf(pairs.subarray(at, at + 2), shards));
  }
  return found;
}

/**
 * Sets `marks[i]` to 1 if value i belongs to this shard and the shard's filter may hold it. This is
 * `BloomShard.mayHold` for very many values. Throws Corrupt if the shard has the wrong size.
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
  // Both operands are unsigned integers: a remainder of doubles is several times slower.
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

  /** Returns whether the filter may hold the value. The value must belong to this shard. */
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

/** The package's filter, with bit positions from a given pair of hashes. */
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

/** Fills `out`: position i is (first + i * (second | 1)) mod 2^32 mod size. */
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
