// HOT: runs per value read from a block; measured by `npm run bench:search`.
/** Loops over the levels and values of pages, each with primitive arguments. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { type Cursor, readHybrid, readVarint } from "./bits.ts";

/** Reads the levels of a version 1 data page: their size in bytes, then the hybrid. */
export function readLevels(
  cursor: Cursor,
  width: number,
  count: number,
  out: Uint8Array,
  at: number,
): void {
  const { bytes, view, pos, end } = cursor;
  if (end - pos < 4) throw new SpoorError("Corrupt", "Parquet page ends in its levels");
  const sizeBytes =
    (bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16) | (bytes[pos + 3] << 24)) >>> 0;
  if (sizeBytes > end - pos - 4) throw new SpoorError("Corrupt", "Parquet page ends in its levels");
  const levels = { bytes, view, pos: pos + 4, end: pos + 4 + sizeBytes };
  readHybrid(levels, width, count, out, at);
  cursor.pos = levels.end;
}

/** Skips levels that are one run of `value`. Returns false and skips nothing if they are not. */
export function skipIfAll(cursor: Cursor, count: number, value: number): boolean {
  const { bytes, view, pos, end } = cursor;
  if (end - pos < 6) return false;
  const sizeBytes = bytes[pos] | (bytes[pos + 1] << 8);
  if (bytes[pos + 2] !== 0 || bytes[pos + 3] !== 0 || sizeBytes > end - pos - 4) return false;
  const levels = { bytes, view, pos: pos + 4, end: pos + 4 + sizeBytes };
  const header = readVarint(levels);
  const isOneRun = (header & 1) === 0 && header >>> 1 >= count && levels.pos + 1 === levels.end;
  if (!isOneRun || bytes[levels.pos] !== value) return false;
  cursor.pos = levels.end;
  return true;
}

export function bitsOf(max: number): number {
  return 32 - Math.clz32(max);
}

export function countOf(levels: Uint8Array, from: number, to: number, wanted: number): number {
  let count = 0;
  for (let i = from; i < to; i++) if (levels[i] === wanted) count++;
  return count;
}

/** Throws Corrupt if a code is not below `length`. */
export function checkCodes(
  codes: Int32Array | Uint8Array,
  from: number,
  to: number,
  length: number,
): void {
  for (let i = from; i < to; i++) {
    if (codes[i] >= length) {
      throw new SpoorError("Corrupt", `Parquet page has code ${codes[i]} of ${length} entries`);
    }
  }
}

/** Looks up 64-bit entries, which are pairs of words, by code. */
export function lookUpPairs(
  entries: Int32Array,
  codes: Int32Array | Uint8Array,
  out: Int32Array,
): void {
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i] * 2;
    out[i * 2] = entries[code];
    out[i * 2 + 1] = entries[code + 1];
  }
}

export function readPlainWords(cursor: Cursor, words: number, out: Int32Array, at: number): void {
  const { bytes, pos, end } = cursor;
  if (words * 4 > end - pos) throw new SpoorError("Corrupt", "Parquet page ends in its numbers");
  const target = new Uint8Array(out.buffer, out.byteOffset + at * 4, words * 4);
  target.set(bytes.subarray(pos, pos + words * 4));
  cursor.pos += words * 4;
}

export function readPlainBits(cursor: Cursor, count: number, out: Uint8Array, at: number): void {
  const { bytes, pos, end } = cursor;
  if ((count + 7) >> 3 > end - pos)
    throw new SpoorError("Corrupt", "Parquet page ends in its bits");
  for (let i = 0; i < count; i++) out[at + i] = (bytes[pos + (i >> 3)] >> (i & 7)) & 1;
}

/** Spreads values to the rows that have one; other rows get `absent`. */
export function spreadCodes(
  dense: Int32Array | Uint8Array,
  definition: Uint8Array,
  max: number,
  out: Int32Array | Uint8Array,
  absent: number,
): Int32Array | Uint8Array {
  for (let row = 0, i = 0; row < out.length; row++) {
    out[row] = definition[row] === max ? dense[i++] : absent;
  }
  return out;
}

/** Spreads 32-bit or 64-bit values to the rows that have one; other rows get zero. */
export function spreadWords(dense: Int32Array, definition: Uint8Array, max: number): Int32Array {
  const out = new Int32Array(dense.length);
  const perValue = dense.length / definition.length;
  for (let row = 0, i = 0; row < definition.length; row++) {
    if (definition[row] !== max) continue;
    for (let word = 0; word < perValue; word++) out[row * perValue + word] = dense[i++];
  }
  return out;
}

/** Returns an Arrow validity bitmap: bits of the rows whose definition level is `max`. */
export function bitmapOf(definition: Uint8Array, max: number): Uint8Array {
  const valid = new Uint8Array((definition.length + 7) >> 3);
  for (let row = 0; row < definition.length; row++) {
    if (definition[row] === max) valid[row >> 3] |= 1 << (row & 7);
  }
  return valid;
}
