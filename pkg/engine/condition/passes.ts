// HOT: runs per row of every search with a condition; measured by filter.bench.ts.
/**
 * Loops over the rows of a batch without a branch per row. Arithmetic replaces branches, because
 * the processor rarely predicts which rows match.
 */

/**
 * The state of a test over rows. Rows with pending = 1 have no value yet. A layer that has the
 * value sets pending to 0 and hits to the predicate's result. Both hold only 0 and 1.
 */
export interface Pass {
  pending: Uint8Array;
  hits: Uint8Array;
}

/** Entries of a table by code. Bit 1: there is a value; bit 0: it satisfies the predicate. */
export const answers = { none: 0, no: 0b10, yes: 0b11 } as const;

/**
 * Decides the pending rows from a table.
 *
 * @param codes One per row, -1 for none.
 * @param table One of `answers` for each code, at code + 1.
 */
export function lookUpCodes(
  codes: Int32Array | Uint8Array,
  table: Uint8Array,
  { pending, hits }: Pass,
): void {
  if (!table.includes(answers.none)) {
    // The table decides every row: only hits differ.
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

/** As `lookUpCodes`, with a bitmap of the rows that have a value; other rows have any code. */
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

/** Marks with 1, at code + 1, each code below `length` that a pending row has. */
export function seenCodes(codes: Int32Array, pending: Uint8Array, length: number): Uint8Array {
  const seen = new Uint8Array(length + 1);
  for (let row = 0; row < pending.length; row++) seen[codes[row] + 1] |= pending[row];
  return seen;
}

/** Returns the number of rows in a mask. */
export function countRows(mask: Uint8Array): number {
  const words = wordsOf(mask);
  let count = 0;
  // The product's highest byte is the sum of the four.
  for (let i = 0; i < words.length; i++) count += Math.imul(words[i], 0x0101_0101) >>> 24;
  for (let row = words.length * 4; row < mask.length; row++) count += mask[row];
  return count;
}

/**
 * Returns a mask as words of four rows, to skip many unset rows at once. Empty if the mask is not
 * aligned; the last rows may be missing.
 */
export function wordsOf({ buffer, byteOffset, length }: Uint8Array): Int32Array {
  return (byteOffset & 3) === 0 ? new Int32Array(buffer, byteOffset, length >> 2) : noWords;
}

const noWords = new Int32Array(0);

export function uniteRows(a: Uint8Array, b: Uint8Array, out: Uint8Array): void {
  for (let row = 0; row < out.length; row++) out[row] = a[row] | b[row];
}

/** Writes the rows of `a` that are not in `b` to `out`. */
export function subtractRows(a: Uint8Array, b: Uint8Array, out: Uint8Array): void {
  for (let row = 0; row < out.length; row++) out[row] = a[row] & ~b[row];
}
