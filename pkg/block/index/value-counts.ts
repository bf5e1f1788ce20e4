// HOT: runs per value at each cut; measured by `npm run bench` (cut).
/** Counts values of a row group, without an object or a bigint per row. */
import { isValid, wordPairs } from "#pkg/columns/columns.ts";

/** Distinct 64-bit integers: halves and counts of value i are at index i. */
export interface IntCounts {
  length: number;
  low: Int32Array;
  high: Int32Array;
  counts: Uint32Array;
  /** Number of rows with a value. */
  rows: number;
}

/**
 * Counts distinct values among rows of 64-bit integers given as (low, high) word pairs.
 *
 *     table  | -1 | 2 | -1 | 0 | 1 |     open addressing, half full at most, by a hash of both
 */
export function countInts(
  words: Int32Array,
  valid: Uint8Array | undefined,
  rows: number,
): IntCounts {
  let mask = 1023;
  let table: Int32Array = new Int32Array(mask + 1).fill(-1);
  let out = emptyCounts(512);
  for (let row = 0; row < rows; row++) {
    if (valid !== undefined && (valid[row >> 3] & (1 << (row & 7))) === 0) continue;
    out.rows++;
    const low = words[row * 2];
    const high = words[row * 2 + 1];
    let slot = hashWords(low, high) & mask;
    let at = table[slot];
    while (at >= 0 && (out.low[at] !== low || out.high[at] !== high)) {
      slot = (slot + 1) & mask;
      at = table[slot];
    }
    if (at >= 0) {
      out.counts[at]++;
      continue;
    }
    at = out.length++;
    out.low[at] = low;
    out.high[at] = high;
    out.counts[at] = 1;
    table[slot] = at;
    if (out.length === out.low.length) {
      out = grown(out);
      mask = out.low.length * 2 - 1;
      table = rehash(out, mask);
    }
  }
  return out;
}

function emptyCounts(capacity: number): IntCounts {
  return {
    length: 0,
    low: new Int32Array(capacity),
    high: new Int32Array(capacity),
    counts: new Uint32Array(capacity),
    rows: 0,
  };
}

function grown(old: IntCounts): IntCounts {
  const out = emptyCounts(old.low.length * 2);
  out.low.set(old.low);
  out.high.set(old.high);
  out.counts.set(old.counts);
  return { ...out, length: old.length, rows: old.rows };
}

function rehash({ length, low, high }: IntCounts, mask: number): Int32Array {
  const table = new Int32Array(mask + 1).fill(-1);
  for (let i = 0; i < length; i++) {
    let slot = hashWords(low[i], high[i]) & mask;
    while (table[slot] >= 0) slot = (slot + 1) & mask;
    table[slot] = i;
  }
  return table;
}

function hashWords(low: number, high: number): number {
  let hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35);
  return hash ^ (hash >>> 13);
}

/** Returns the word pairs of 64-bit or 32-bit integers, sign-extended. */
export function wordsOf(values: BigInt64Array | Int32Array): Int32Array {
  if (values instanceof BigInt64Array) return wordPairs(values);
  const words = new Int32Array(values.length * 2);
  for (let i = 0; i < values.length; i++) {
    words[i * 2] = values[i];
    words[i * 2 + 1] = values[i] >> 31;
  }
  return words;
}

/** Counts each code of a dictionary; ignores nulls (-1). */
export function countCodes(codes: Int32Array, dictionaryLength: number): Uint32Array {
  const counts = new Uint32Array(dictionaryLength);
  for (let row = 0; row < codes.length; row++) if (codes[row] >= 0) counts[codes[row]]++;
  return counts;
}

/**
 * Returns the indexes of the `most` greatest counts, unordered. Among equal counts at the edge it
 * takes the first ones. It skips counts of 0.
 */
export function topCounts(counts: Uint32Array, length: number, most: number): number[] {
  let used = 0;
  let greatest = 0;
  for (let i = 0; i < length; i++) {
    if (counts[i] > 0) used++;
    if (counts[i] > greatest) greatest = counts[i];
  }
  const edge = used <= most ? 1 : edgeOf(counts, length, most, greatest);
  const out: number[] = [];
  for (let i = 0; i < length; i++) if (counts[i] >= edge) out.push(i);
  if (out.length <= most) return out;
  const above = out.filter((i) => counts[i] > edge);
  const equal = out.filter((i) => counts[i] === edge);
  return above.concat(equal.slice(0, most - above.length));
}

/** Returns the greatest count that at least `most` values reach. */
function edgeOf(counts: Uint32Array, length: number, most: number, greatest: number): number {
  let low = 1;
  let high = greatest;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    let reach = 0;
    for (let i = 0; i < length; i++) if (counts[i] >= middle) reach++;
    if (reach >= most) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Returns the least and greatest number of valid rows without NaN; undefined if there is none. */
export function rangeOf(
  values: Float64Array | Int32Array,
  valid: Uint8Array | undefined,
  rows: number,
): { min: number; max: number } | undefined {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let found = false;
  for (let row = 0; row < rows; row++) {
    if (!isValid(valid, row)) continue;
    const value = values[row];
    if (value <= min) min = value;
    if (value >= max) max = value;
    if (!Number.isNaN(value)) found = true;
  }
  return found ? { min, max } : undefined;
}
