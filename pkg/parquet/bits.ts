// HOT: runs per value read from a block; measured by `npm run bench:search`.
/**
 * Parquet's packed numbers: the RLE and bit-packing hybrid of levels and dictionary codes, and
 * DELTA_BINARY_PACKED. Format: https://github.com/apache/parquet-format/blob/master/Encodings.md
 *
 *     hybrid:  header | run ...      header odd:  header >> 1 groups of 8 values, bit-packed
 *                                    header even: one value, header >> 1 times
 */
import { SpoorError } from "#pkg/errors/errors.ts";

/** A cursor over the bytes of a page. */
export interface Cursor {
  bytes: Uint8Array;
  /** A view of `bytes`. Reading whole words at any position is much faster through it. */
  view: DataView;
  pos: number;
  end: number;
}

export function cursorOf(bytes: Uint8Array): Cursor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { bytes, view, pos: 0, end: bytes.length };
}

/** Widest codes that are read, bits: a dictionary has at most 16 million entries. */
const codeBitsMax = 24;

/**
 * Reads `count` values of `width` bits to out[at...] and moves the cursor after the last run.
 * Throws Corrupt if the bytes end early or a run's value is wider than `width`.
 */
export function readHybrid(
  cursor: Cursor,
  width: number,
  count: number,
  out: Int32Array | Uint8Array,
  at: number,
): void {
  if (width > codeBitsMax) throw corrupt(`codes of ${width} bits`);
  const stop = at + count;
  const valueBytes = (width + 7) >> 3;
  while (at < stop) {
    const header = readVarint(cursor);
    const length = header >>> 1;
    if ((header & 1) === 1) {
      const packedBytes = length * width;
      if (packedBytes > cursor.end - cursor.pos) throw corrupt("packed values end early");
      const values = Math.min(length * 8, stop - at);
      unpack(cursor.view, cursor.pos, width, values, out, at);
      cursor.pos += packedBytes;
      at += values;
    } else {
      if (length === 0 || valueBytes > cursor.end - cursor.pos) throw corrupt("a run ends early");
      let value = 0;
      for (let i = 0; i < valueBytes; i++) value |= cursor.bytes[cursor.pos++] << (8 * i);
      if (value >>> width !== 0) throw corrupt(`value ${value} of ${width} bits`);
      const values = Math.min(length, stop - at);
      out.fill(value, at, at + values);
      at += values;
    }
  }
}

/**
 * Unpacks values, least significant bit first. `width` is at most 24, so four bytes from a value's
 * first bit always hold the whole value. Near the end of the page bytes are read one by one.
 */
function unpack(
  view: DataView,
  from: number,
  width: number,
  count: number,
  out: Int32Array | Uint8Array,
  at: number,
): void {
  if (width === 0) {
    out.fill(0, at, at + count);
    return;
  }
  const mask = (1 << width) - 1;
  const whole = Math.min(count, Math.floor(((view.byteLength - 4 - from) * 8) / width) + 1);
  let bit = 0;
  let i = 0;
  for (; i < whole; i++, bit += width) {
    out[at + i] = (view.getUint32(from + (bit >>> 3), true) >>> (bit & 7)) & mask;
  }
  for (; i < count; i++, bit += width) {
    out[at + i] = (wordAt(view, from + (bit >>> 3)) >>> (bit & 7)) & mask;
  }
}

/** Reads four bytes as a word; bytes beyond the end are 0. */
function wordAt(view: DataView, pos: number): number {
  let word = 0;
  for (let k = 0; k < 4 && pos + k < view.byteLength; k++)
    word |= view.getUint8(pos + k) << (8 * k);
  return word >>> 0;
}

/** Reads an unsigned varint below 2^31. Throws Corrupt. */
export function readVarint(cursor: Cursor): number {
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    if (cursor.pos >= cursor.end) throw corrupt("a number ends early");
    const byte = cursor.bytes[cursor.pos++];
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) {
      if (value >= 2 ** 31) break;
      return value;
    }
  }
  throw corrupt("a number is too large");
}

/** Reads a zigzag varint of 64 bits into `words` as [low, high]. */
function readZigzag(cursor: Cursor, words: Int32Array): void {
  let low = 0;
  let high = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    if (cursor.pos >= cursor.end) throw corrupt("a number ends early");
    const byte = cursor.bytes[cursor.pos++];
    const part = byte & 0x7f;
    if (shift < 28) low |= part << shift;
    else if (shift === 28) {
      low |= part << 28;
      high |= part >>> 4;
    } else high |= part << (shift - 32);
    if (byte < 0x80) {
      const sign = -(low & 1);
      words[0] = ((low >>> 1) | (high << 31)) ^ sign;
      words[1] = (high >>> 1) ^ sign;
      return;
    }
  }
  throw corrupt("a number is longer than 10 bytes");
}

/**
 * Reads `count` values of DELTA_BINARY_PACKED to the 64-bit integers out[at...]. `out` holds each
 * integer as two words. Throws Corrupt.
 */
export function readDelta(cursor: Cursor, count: number, out: Int32Array, at: number): void {
  const blockValues = readVarint(cursor);
  const miniBlocks = readVarint(cursor);
  const total = readVarint(cursor);
  const perMini = blockValues / miniBlocks;
  if (total !== count || !Number.isInteger(perMini) || perMini % 8 !== 0 || perMini === 0) {
    throw corrupt(`${total} deltas in ${miniBlocks} parts of ${blockValues}, not ${count}`);
  }
  const words = new Int32Array(2);
  readZigzag(cursor, words);
  if (count === 0) return;
  out[at * 2] = words[0];
  out[at * 2 + 1] = words[1];
  let done = 1;
  while (done < count) {
    readZigzag(cursor, words);
    const widths = cursor.pos;
    cursor.pos += miniBlocks;
    if (cursor.pos > cursor.end) throw corrupt("deltas end early");
    for (let mini = 0; mini < miniBlocks && done < count; mini++) {
      const width = cursor.bytes[widths + mini];
      const sizeBytes = (perMini * width) / 8;
      if (width > 64 || sizeBytes > cursor.end - cursor.pos) throw corrupt("deltas end early");
      const values = Math.min(perMini, count - done);
      if (width <= 32 && cursor.view.byteLength - cursor.pos >= sizeBytes + 5) {
        addSmallDeltas(cursor.view, cursor.pos, width, words[0], words[1], values, out, at + done);
      } else {
        addDeltas(cursor.view, cursor.pos, width, words[0], words[1], values, out, at + done);
      }
      cursor.pos += sizeBytes;
      done += values;
    }
  }
}

/** As `addDeltas`, for widths up to 32, if 5 bytes can be read from each delta's position. */
function addSmallDeltas(
  view: DataView,
  from: number,
  width: number,
  minLow: number,
  minHigh: number,
  values: number,
  out: Int32Array,
  at: number,
): void {
  let low = out[at * 2 - 2] >>> 0;
  let high = out[at * 2 - 1];
  const base = minLow >>> 0;
  const mask = width === 32 ? -1 : (1 << width) - 1;
  for (let i = 0, bit = 0; i < values; i++, bit += width) {
    const pos = from + (bit >>> 3);
    const shift = bit & 7;
    // Shifts in two steps: JavaScript treats a shift by 32 as a shift by 0.
    const upper = (view.getUint8(pos + 4) << 1) << (31 - shift);
    const delta = ((view.getUint32(pos, true) >>> shift) | upper) & mask;
    const sum = low + base + (delta >>> 0);
    low = sum >>> 0;
    high = (high + minHigh + Math.floor(sum / 0x1_0000_0000)) | 0;
    out[(at + i) * 2] = low;
    out[(at + i) * 2 + 1] = high;
  }
}

/** Sets out[at + i] = out[at + i - 1] + min + the delta of `width` bits, modulo 2^64. */
function addDeltas(
  view: DataView,
  from: number,
  width: number,
  minLow: number,
  minHigh: number,
  values: number,
  out: Int32Array,
  at: number,
): void {
  let low = out[at * 2 - 2] >>> 0;
  let high = out[at * 2 - 1];
  const base = minLow >>> 0;
  const lowBits = Math.min(width, 32);
  const lowMask = lowBits === 32 ? 0xffff_ffff : (1 << lowBits) - 1;
  const highBits = width - lowBits;
  const highMask = highBits === 32 ? 0xffff_ffff : (1 << highBits) - 1;
  for (let i = 0, bit = 0; i < values; i++, bit += width) {
    const deltaLow = lowBits === 0 ? 0 : (word32(view, from, bit) & lowMask) >>> 0;
    const deltaHigh = highBits === 0 ? 0 : word32(view, from, bit + 32) & highMask;
    const sum = low + base + deltaLow;
    low = sum >>> 0;
    high = (high + minHigh + deltaHigh + Math.floor(sum / 0x1_0000_0000)) | 0;
    out[(at + i) * 2] = low;
    out[(at + i) * 2 + 1] = high;
  }
}

/** Reads 32 bits from bit `bit` on; bits beyond the end are 0. */
function word32(view: DataView, from: number, bit: number): number {
  const pos = from + (bit >>> 3);
  const shift = bit & 7;
  const word = wordAt(view, pos);
  return shift === 0 ? word : (word >>> shift) | (wordAt(view, pos + 4) << (32 - shift));
}

function corrupt(what: string): SpoorError {
  return new SpoorError("Corrupt", `Parquet page: ${what}`);
}
