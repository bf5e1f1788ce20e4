// HOT: copies envelopes and attribute lists; measured by `npm run bench` (decode).
/**
 * Bytes collected from several parts of a message, to be interned as one value. Protobuf defines
 * that concatenating the occurrences of a sub-message merges them.
 */
import type { WireReader } from "#pkg/bytes/bytes.ts";

/** Field 1, length-delimited: collected KeyValues form a KeyValueList. */
const keyValueTag = (1 << 3) | 2;

export class Scratch {
  bytes: Buffer = Buffer.alloc(1024);
  length = 0;

  /** Adds the bytes from the reader's position to `end`, and moves the reader to `end`. */
  keepField(reader: WireReader, end: number): void {
    this.#keep(reader.buf, reader.pos, end);
    reader.pos = end;
  }

  /** Adds the KeyValue at the reader's position as field 1, and moves the reader past it. */
  keepAttribute(reader: WireReader, tag: number): void {
    const start = reader.pos;
    reader.skip(tag);
    this.#reserve(1);
    this.bytes[this.length++] = keyValueTag;
    this.#keep(reader.buf, start, reader.pos);
  }

  #keep(src: Uint8Array, start: number, end: number): void {
    this.#reserve(end - start);
    this.bytes.set(src.subarray(start, end), this.length);
    this.length += end - start;
  }

  #reserve(extra: number): void {
    if (this.length + extra <= this.bytes.length) return;
    const grown = Buffer.alloc((this.length + extra) * 2);
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }
}
