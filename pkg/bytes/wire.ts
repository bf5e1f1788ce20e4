// HOT: runs per protobuf field; measured by `npm run bench` (split, decode).
/**
 * A cursor over protobuf wire bytes (https://protobuf.dev/programming-guides/encoding/).
 *
 * The cursor reads `buf` between `pos` and `end`, and owns no bytes. Every read checks the bound
 * and throws InvalidInput ("truncated ...") if the bytes end early. 64-bit values are returned as
 * two Uint32 halves in `lo` and `hi`, because bigint is an order of magnitude slower.
 */
import { SpoorError } from "#pkg/errors/errors.ts";

export const wireVarint = 0;
export const wireFixed64 = 1;
export const wireBytes = 2;
export const wireFixed32 = 5;

export class WireReader {
  buf: Uint8Array;
  pos: number;
  end: number;
  /** Low and high 32 bits of the last 64-bit value read. */
  lo = 0;
  hi = 0;

  constructor(buf: Uint8Array, pos = 0, end: number = buf.length) {
    this.buf = buf;
    this.pos = pos;
    this.end = end;
  }

  /** Moves the cursor to other bytes, so that one object can read many messages. */
  reset(buf: Uint8Array, pos: number, end: number): void {
    this.buf = buf;
    this.pos = pos;
    this.end = end;
  }

  /** Reads a field's tag: `fieldNumber << 3 | wireType`. Throws for field number 0. */
  tag(): number {
    const pos = this.pos;
    if (pos < this.end && this.buf[pos] < 0x80 && this.buf[pos] >= 8) {
      this.pos = pos + 1;
      return this.buf[pos];
    }
    this.varint64();
    if (this.hi !== 0 || this.lo >>> 3 === 0) this.fail("invalid field tag");
    return this.lo;
  }

  /** Reads a varint as unsigned 32 bits; higher bits are dropped, as protobuf decoders do. */
  varint32(): number {
    const pos = this.pos;
    if (pos < this.end && this.buf[pos] < 0x80) {
      this.pos = pos + 1;
      return this.buf[pos];
    }
    this.varint64();
    return this.lo;
  }

  /** Reads a varint of up to 10 bytes into `lo` and `hi`. */
  varint64(): void {
    const { buf, end } = this;
    let pos = this.pos;
    let lo = 0;
    let hi = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (pos >= end) this.fail("truncated varint");
      const byte = buf[pos++];
      const bits = byte & 0x7f;
      if (shift < 28) lo |= bits << shift;
      else if (shift === 28) {
        lo |= bits << 28;
        hi = bits >>> 4;
      } else if (shift < 63) hi |= bits << (shift - 32);
      else hi |= (bits & 1) << 31;
      if (byte < 0x80) {
        this.pos = pos;
        this.lo = lo >>> 0;
        this.hi = hi >>> 0;
        return;
      }
    }
    this.fail("varint longer than 10 bytes");
  }

  /** Reads 8 little-endian bytes into `lo` and `hi`. */
  fixed64(): void {
    const { buf, pos } = this;
    if (pos + 8 > this.end) this.fail("truncated fixed64");
    this.lo = (buf[pos] | (buf[pos + 1] << 8) | (buf[pos + 2] << 16) | (buf[pos + 3] << 24)) >>> 0;
    this.hi =
      (buf[pos + 4] | (buf[pos + 5] << 8) | (buf[pos + 6] << 16) | (buf[pos + 7] << 24)) >>> 0;
    this.pos = pos + 8;
  }

  /** Reads 4 little-endian bytes as an unsigned number. */
  fixed32(): number {
    const { buf, pos } = this;
    if (pos + 4 > this.end) this.fail("truncated fixed32");
    this.pos = pos + 4;
    return (buf[pos] | (buf[pos + 1] << 8) | (buf[pos + 2] << 16) | (buf[pos + 3] << 24)) >>> 0;
  }

  /** Reads a length prefix; returns the end of its content, and moves `pos` to its start. */
  lengthEnd(): number {
    let length = 0;
    const first = this.pos < this.end ? this.buf[this.pos] : 0x80;
    if (first < 0x80) {
      this.pos++;
      length = first;
    } else {
      this.varint64();
      if (this.hi !== 0) this.fail("length over 4 GiB");
      length = this.lo;
    }
    if (length > this.end - this.pos) {
      this.fail(`truncated field of ${length} bytes, ${this.end - this.pos} left`);
    }
    return this.pos + length;
  }

  /** Skips a field's value by its tag. Throws for groups (wire types 3 and 4). */
  skip(tag: number): void {
    switch (tag & 7) {
      case wireVarint:
        this.varint64();
        return;
      case wireFixed64:
        if (this.pos + 8 > this.end) this.fail("truncated fixed64");
        this.pos += 8;
        return;
      case wireBytes:
        this.pos = this.lengthEnd();
        return;
      case wireFixed32:
        if (this.pos + 4 > this.end) this.fail("truncated fixed32");
        this.pos += 4;
        return;
      default:
        this.fail(`unsupported wire type ${tag & 7}`);
    }
  }

  fail(what: string): never {
    throw new SpoorError("InvalidInput", `invalid protobuf: ${what} at byte ${this.pos}`, {
      reason: "invalid_protobuf",
    });
  }
}
