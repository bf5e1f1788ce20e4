// HOT: runs per row of every search with a condition; measured by filter.bench.ts.
/**
 * Loops over the rows of a batch, without a branch per row: what a row has decides by arithmetic,
 * as which rows match can rarely be foreseen.
 */

/**
 * A pass over rows: those with pending = 1 still look for their value. A layer that has it sets
 * pending to 0 and hits to the predicate's answer. Both hold nothing but 0 and 1.
 */
export interface Pass {
  pending: Uint8Array;
  hits: Uint8Array;
}

/** What a table says of a code: bit 1, whether there is a value; bit 0, whether it satisfies. */
export const answers = { none: 0, no: 0b10, yes: 0b11 } as const;

/**
 * Answers the pending rows from a table.
 *
 * @param codes per row, -1 for none.
 * @param table an answer for each code, at code + 1.
 */
export function lookUpCodes(
  codes: Int32Array | Uint8Array,
  table: Uint8Array,
  { pending, hits }: Pass,
): void {
  if (!table.includes(answers.none)) {
    // Every row is answered, so that only the hits are told.
    for (let row = 0; row < pending.length; row++) {
      hits[row] |= table[codes[row] + 1] & pending[row];
    }
    pending.fill(0);
    return;
  }
  for (let row = 0; row < pending.length; row++) {
    const answer = table[codes[row] + 1] & -pending[row];
    hits[row] |= answer & 1;
    pending[row] ^= answer >> 1;
  }
}

/** The same where a bitmap says which rows have a value; in the others stands any code. */
export function lookUpValidCodes(
  codes: Int32Array | Uint8Array,
  valid: Uint8Array,
  table: Uint8Array,
  { pending, hits }: Pass,
): void {
  for (let row = 0; row < pending.length; row++) {
    const isAsked = pending[row] & (valid[row >> 3] >> (row & 7));
    const answer = table[codes[row] + 1] & -isAsked;
    hits[row] |= answer & 1;
    pending[row] ^= answer >> 1;
  }
}

/** 1 for each code of `length` that a pending row has, at code + 1. */
export function seenCodes(codes: Int32Array, pending: Uint8Array, length: number): Uint8Array {
  const seen = new Uint8Array(length + 1);
  for (let row = 0; row < pending.length; row++) seen[codes[row] + 1] |= pending[row];
  return seen;
}

/** How many rows a mask has. */
export function countRows(mask: Uint8Array): number {
  const words = wordsOf(mask);
  let count = 0;
  // The product's highest byte is the sum of the four.
  for (let i = 0; i < words.length; i++) count += Math.imul(words[i], 0x0101_0101) >>> 24;
  for (let row = words.length * 4; row < mask.length; row++) count += mask[row];
  return count;
}

/** A mask four rows at a time, as far as that goes: to step over many rows that are not in it. */
export function wordsOf({ buffer, byteOffset, length }: Uint8Array): Int32Array {
  return (byteOffset & 3) === 0 ? new Int32Array(buffer, byteOffset, length >> 2) : noWords;
}

const noWords = new Int32Array(0);

export function uniteRows(a: Uint8Array, b: Uint8Array, out: Uint8Array): void {
  for (let row = 0; row < out.length; row++) out[row] = a[row] | b[row];
}

/** Rows of `a` that are not in `b`. */
export function subtractRows(a: Uint8Array, b: Uint8Array, out: Uint8Array): void {
  for (let row = 0; row < out.length; row++) out[row] = a[row] & ~b[row];
}
