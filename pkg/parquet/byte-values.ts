// HOT: runs per string read from a block; measured by `npm run bench:search`.
/** Reads the byte strings of plain pages: each is a 4-byte length, then the bytes. */
import type { ByteValues } from "#pkg/columns/columns.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Cursor } from "./bits.ts";

export class ByteValuesBuilder {
  #bytes = new Uint8Array(0);
  #offsets = new Int32Array(16);
  #length = 0;
  /** Whether equal values must share one code. */
  readonly #isInterned: boolean;
  /** Text of a value (latin1) -> its code; built when the first page without codes is read. */
  #known: Map<string, number> | undefined;

  constructor(isInterned: boolean) {
    this.#isInterned = isInterned;
  }

  values(): ByteValues {
    const sizeBytes = this.#offsets[this.#length];
    return {
      bytes: this.#bytes.subarray(0, sizeBytes),
      offsets: this.#offsets,
      length: this.#length,
    };
  }

  /** Adds `count` values without deduplication: the entries of a dictionary. Throws Corrupt. */
  addAll(cursor: Cursor, count: number): void {
    this.#reserve(count, cursor.end - cursor.pos);
    for (let i = 0; i < count; i++) {
      this.#append(cursor, readLength(cursor));
    }
  }

  /** Adds `count` values and writes their codes to codes[at...]. Throws Corrupt. */
  addEach(cursor: Cursor, count: number, codes: Int32Array, at: number): void {
    this.#reserve(count, cursor.end - cursor.pos);
    if (this.#isInterned) this.#known ??= this.#knowAll();
    for (let i = 0; i < count; i++) {
      const sizeBytes = readLength(cursor);
      if (this.#known !== undefined) {
        const code = this.#know(cursor.bytes, cursor.pos, sizeBytes);
        if (code < this.#length) {
          codes[at + i] = code;
          cursor.pos += sizeBytes;
          continue;
        }
      }
      codes[at + i] = this.#length;
      this.#append(cursor, sizeBytes);
    }
  }

  #knowAll(): Map<string, number> {
    const known = new Map<string, number>();
    for (let code = 0; code < this.#length; code++) {
      known.set(textOf(this.#bytes, this.#offsets[code], this.#offsets[code + 1]), code);
    }
    return known;
  }

  /** Returns the code of a value; the next free code if the value is new. */
  #know(bytes: Uint8Array, pos: number, sizeBytes: number): number {
    const text = textOf(bytes, pos, pos + sizeBytes);
    const code = this.#known!.get(text);
    if (code !== undefined) return code;
    this.#known!.set(text, this.#length);
    return this.#length;
  }

  #append(cursor: Cursor, sizeBytes: number): void {
    const { bytes, pos } = cursor;
    const at = this.#offsets[this.#length];
    if (sizeBytes > 24) this.#bytes.set(bytes.subarray(pos, pos + sizeBytes), at);
    else for (let i = 0; i < sizeBytes; i++) this.#bytes[at + i] = bytes[pos + i];
    cursor.pos += sizeBytes;
    this.#offsets[++this.#length] = at + sizeBytes;
  }

  #reserve(count: number, sizeBytes: number): void {
    if (count < 0 || count * 4 > sizeBytes) {
      throw new SpoorError("Corrupt", `Parquet page of ${sizeBytes} bytes for ${count} strings`);
    }
    const used = this.#offsets[this.#length];
    if (used + sizeBytes > this.#bytes.length) {
      const grown = new Uint8Array(used + sizeBytes);
      grown.set(this.#bytes.subarray(0, used));
      this.#bytes = grown;
    }
    if (this.#length + count + 1 > this.#offsets.length) {
      const grown = new Int32Array(this.#length + count + 1);
      grown.set(this.#offsets);
      this.#offsets = grown;
    }
  }
}

function textOf({ buffer, byteOffset }: Uint8Array, from: number, to: number): string {
  return Buffer.from(buffer, byteOffset + from, to - from).toString("latin1");
}

function readLength(cursor: Cursor): number {
  const { bytes, pos, end } = cursor;
  if (end - pos < 4) throw new SpoorError("Corrupt", "Parquet page ends in its strings");
  const sizeBytes =
    (bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16) | (bytes[pos + 3] << 24)) >>> 0;
  if (sizeBytes > end - pos - 4)
    throw new SpoorError("Corrupt", "Parquet page ends in its strings");
  cursor.pos = pos + 4;
  return sizeBytes;
}
