/** Writes a message into a growing buffer. */
import { SpoorError } from "#pkg/errors/errors.ts";

const firstBytes = 256;

/** Bits of a bigint in a message at most, including the sign. */
export const bigIntBitsMax = 128;

export class Writer {
  #bytes = new Uint8Array(firstBytes);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
  }

  /** Writes a count. Throws Internal if it is not an integer from 0 to 2^53 - 1. */
  count(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new SpoorError("Internal", `encode a message: ${value} is not a count`);
    }
    let left = value;
    for (; left >= 0x80; left = Math.floor(left / 0x80)) this.byte((left % 0x80) | 0x80);
    this.byte(left);
  }

  float(value: number): void {
    this.#reserve(8);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  /** Writes an integer. Throws Internal if it has more than 128 bits. */
  bigInt(value: bigint): void {
    if (BigInt.asIntN(bigIntBitsMax, value) !== value) {
      throw new SpoorError("Internal", `encode a message: ${value} has too many bits`);
    }
    // The sign is the lowest bit (zigzag), so that small negative integers are short.
    let left = value < 0n ? -2n * value - 1n : 2n * value;
    for (; left >= 0x80n; left >>= 7n) this.byte(Number(left & 0x7fn) | 0x80);
    this.byte(Number(left));
  }

  text(value: string): void {
    this.sized(Buffer.from(value));
  }

  /** Writes a typed array: the number of elements, then their bytes. */
  sized(value: Uint8Array | Int32Array | BigInt64Array | BigUint64Array | Float64Array): void {
    this.count(value.length);
    this.#reserve(value.byteLength);
    this.#bytes.set(new Uint8Array(value.buffer, value.byteOffset, value.byteLength), this.#at);
    this.#at += value.byteLength;
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  #reserve(sizeBytes: number): void {
    const needed = this.#at + sizeBytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
