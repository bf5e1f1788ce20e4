/** Writes protobuf wire bytes into a growing buffer; the counterpart of wire.ts. */
import { wireBytes, wireFixed32, wireFixed64, wireVarint } from "./wire.ts";

export class WireWriter {
  #buf: Buffer;
  #pos = 0;

  constructor(sizeHintBytes = 1024) {
    this.#buf = Buffer.allocUnsafe(Math.max(64, sizeHintBytes));
  }

  /** Bytes written so far. */
  get sizeBytes(): number {
    return this.#pos;
  }

  /** Returns a view of the written bytes; valid until the next write. */
  bytes(): Uint8Array {
    return this.#buf.subarray(0, this.#pos);
  }

  #reserve(sizeBytes: number): void {
    if (this.#pos + sizeBytes <= this.#buf.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buf.length * 2, this.#pos + sizeBytes));
    this.#buf.copy(grown, 0, 0, this.#pos);
    this.#buf = grown;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.#buf[this.#pos++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#buf[this.#pos++] = rest;
  }

  /** Writes a varint field. `value` is an unsigned integer up to 2^53. */
  uint(field: number, value: number): void {
    this.#reserve(20);
    this.#varint(field * 8 + wireVarint);
    this.#varint(value);
  }

  /** Writes a varint field of a 64-bit value, signed or unsigned, as two's complement. */
  int64(field: number, value: bigint): void {
    this.#reserve(20);
    this.#varint(field * 8 + wireVarint);
    let rest = BigInt.asUintN(64, value);
    while (rest > 0x7fn) {
      this.#buf[this.#pos++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#buf[this.#pos++] = Number(rest);
  }

  fixed64(field: number, value: bigint): void {
    this.#reserve(20);
    this.#varint(field * 8 + wireFixed64);
    this.#pos = this.#buf.writeBigUInt64LE(BigInt.asUintN(64, value), this.#pos);
  }

  double(field: number, value: number): void {
    this.#reserve(20);
    this.#varint(field * 8 + wireFixed64);
    this.#pos = this.#buf.writeDoubleLE(value, this.#pos);
  }

  fixed32(field: number, value: number): void {
    this.#reserve(20);
    this.#varint(field * 8 + wireFixed32);
    this.#pos = this.#buf.writeUInt32LE(value >>> 0, this.#pos);
  }

  string(field: number, value: string): void {
    const length = Buffer.byteLength(value, "utf8");
    this.#reserve(20 + length);
    this.#varint(field * 8 + wireBytes);
    this.#varint(length);
    this.#buf.write(value, this.#pos, length, "utf8");
    this.#pos += length;
  }

  /** Forgets what was written; keeps the room for it. */
  reset(): void {
    this.#pos = 0;
  }

  bytesField(field: number, value: Uint8Array): void {
    this.#reserve(20 + value.length);
    this.#varint(field * 8 + wireBytes);
    this.#varint(value.length);
    this.#buf.set(value, this.#pos);
    this.#pos += value.length;
  }

  /** Writes a nested message; `write` writes its fields. The length is inserted afterwards. */
  message(field: number, write: (writer: WireWriter) => void): void {
    this.#reserve(20);
    this.#varint(field * 8 + wireBytes);
    const start = this.#pos;
    this.#pos += 1;
    write(this);
    const length = this.#pos - start - 1;
    const extra = varintSize(length) - 1;
    if (extra > 0) {
      this.#reserve(extra);
      this.#buf.copyWithin(start + 1 + extra, start + 1, start + 1 + length);
    }
    this.#pos = start;
    this.#varint(length);
    this.#pos += length;
  }

  /** Writes the tag and length of a nested message; the caller writes its bytes. */
  messageHead(field: number, lengthBytes: number): void {
    this.#reserve(20);
    this.#varint(field * 8 + wireBytes);
    this.#varint(lengthBytes);
  }

  /** Writes fields that are encoded already. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#buf.set(value, this.#pos);
    this.#pos += value.length;
  }
}

/** Returns the number of bytes of `value` as a varint. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) size++;
  return size;
}
