/** Reads untrusted messages: a length beyond the message is rejected before memory is allocated. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { bigIntBitsMax } from "./writer.ts";

/** A little more than the depth of TraceQL conditions. */
const depthMax = 1024;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #depth = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Returns a Corrupt error with the current offset. */
  corrupt(what: string): SpoorError {
    const message = `decode a message: ${what} at byte ${this.#at} of ${this.#bytes.length}`;
    return new SpoorError("Corrupt", message, { reason: "wire" });
  }

  byte(): number {
    this.#need(1);
    return this.#bytes[this.#at++];
  }

  count(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (!Number.isSafeInteger(value)) throw this.corrupt("a count that is too large");
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  float(): number {
    this.#need(8);
    const value = this.#view.getFloat64(this.#at, true);
    this.#at += 8;
    return value;
  }

  bigInt(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (shift > bigIntBitsMax) throw this.corrupt("an integer of too many bits");
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    const found = (value & 1n) === 1n ? -((value + 1n) >> 1n) : value >> 1n;
    if (BigInt.asIntN(bigIntBitsMax, found) !== found) {
      throw this.corrupt("an integer of too many bits");
    }
    return found;
  }

  text(): string {
    const part = this.sized(1);
    try {
      return decoder.decode(part);
    } catch {
      throw this.corrupt("a text that is not UTF-8");
    }
  }

  /** Reads the bytes of a typed array; returns a view of the message. */
  sized(bytesPerElement: number): Uint8Array {
    const sizeBytes = this.count() * bytesPerElement;
    this.#need(sizeBytes);
    this.#at += sizeBytes;
    return this.#bytes.subarray(this.#at - sizeBytes, this.#at);
  }

  /** Reads the length of a list; each item takes at least one byte. */
  lengthOfItems(): number {
    const length = this.count();
    this.#need(length);
    return length;
  }

  choice<T>(of: readonly T[]): T {
    const place = this.count();
    if (place >= of.length) throw this.corrupt(`unknown choice ${place} of ${of.length}`);
    return of[place];
  }

  nested<T>(read: () => T): T {
    if (this.#depth >= depthMax) throw this.corrupt(`values nested over ${depthMax} deep`);
    this.#depth++;
    const value = read();
    this.#depth--;
    return value;
  }

  /** Throws Corrupt if bytes are left. */
  finish(): void {
    if (this.#at < this.#bytes.length) throw this.corrupt("bytes after the end");
  }

  #need(sizeBytes: number): void {
    if (sizeBytes > this.#bytes.length - this.#at) throw this.corrupt("the message ends early");
  }
}
