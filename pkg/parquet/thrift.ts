/**
 * Codec of the Thrift compact protocol, over a generic tree that keeps every field and type. A
 * Parquet footer can be decoded, changed in a few fields and encoded without losing other fields.
 * Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 */
import { SpoorError } from "#pkg/errors/errors.ts";

const typeTrue = 1;
const typeFalse = 2;
const typeByte = 3;
const typeI16 = 4;
export const typeI32 = 5;
export const typeI64 = 6;
const typeDouble = 7;
export const typeBinary = 8;
export const typeList = 9;
const typeSet = 10;
export const typeStruct = 12;

const depthMax = 32;
/** Values of one tree at most, about 100,000 column chunks: limits the memory of the tree. */
const valuesMax = 4_000_000;

export type ThriftValue =
  | { type: typeof typeTrue | typeof typeFalse; value: boolean }
  | { type: number; value: bigint }
  | { type: number; value: number }
  | { type: number; value: Uint8Array }
  | { type: typeof typeList | typeof typeSet; value: ThriftList }
  | { type: typeof typeStruct; value: ThriftStruct };

export interface ThriftList {
  elementType: number;
  items: ThriftValue[];
}

/** Fields by id, in the order of the input. */
export type ThriftStruct = Map<number, ThriftValue>;

/** Decodes one struct at `pos`; `end` is the offset after it. Throws Corrupt. */
export function decodeThrift(bytes: Uint8Array, pos = 0): { value: ThriftStruct; end: number } {
  const reader = new Reader(bytes, pos);
  const value = reader.struct(0);
  return { value, end: reader.pos };
}

class Reader {
  readonly #bytes: Uint8Array;
  pos: number;
  #values = 0;

  constructor(bytes: Uint8Array, pos: number) {
    this.#bytes = bytes;
    this.pos = pos;
  }

  struct(depth: number): ThriftStruct {
    const fields: ThriftStruct = new Map();
    let id = 0;
    for (;;) {
      const header = this.#byte();
      if (header === 0) return fields;
      const delta = header >> 4;
      id = delta === 0 ? Number(this.#zigzag()) : id + delta;
      fields.set(id, this.#value(header & 15, depth, false));
    }
  }

  #value(type: number, depth: number, inList: boolean): ThriftValue {
    if (depth > depthMax) this.#fail("nested too deeply");
    if (++this.#values > valuesMax) this.#fail(`more than ${valuesMax} values`);
    switch (type) {
      case typeTrue:
      case typeFalse:
        return { type, value: (inList ? this.#byte() : type) === typeTrue };
      case typeByte:
        return { type, value: this.#byte() };
      case typeI16:
      case typeI32:
      case typeI64:
        return { type, value: this.#zigzag() };
      case typeDouble:
        return { type, value: Buffer.from(this.#take(8)).readDoubleLE(0) };
      case typeBinary:
        return { type, value: this.#take(Number(this.#varint())) };
      case typeList:
      case typeSet: {
        const header = this.#byte();
        const count = header >> 4 === 15 ? Number(this.#varint()) : header >> 4;
        if (count > this.#bytes.length - this.pos) this.#fail(`list of ${count} items`);
        const items: ThriftValue[] = [];
        for (let i = 0; i < count; i++) items.push(this.#value(header & 15, depth + 1, true));
        return { type, value: { elementType: header & 15, items } };
      }
      case typeStruct:
        return { type: typeStruct, value: this.struct(depth + 1) };
      default:
        return this.#fail(`unknown type ${type}`);
    }
  }

  #byte(): number {
    if (this.pos >= this.#bytes.length) this.#fail("truncated");
    return this.#bytes[this.pos++];
  }

  #take(size: number): Uint8Array {
    if (size > this.#bytes.length - this.pos) this.#fail(`truncated value of ${size} bytes`);
    this.pos += size;
    return this.#bytes.subarray(this.pos - size, this.pos);
  }

  #varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return this.#fail("varint longer than 10 bytes");
  }

  #zigzag(): bigint {
    const value = this.#varint();
    return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n));
  }

  #fail(what: string): never {
    throw new SpoorError("Corrupt", `invalid thrift: ${what} at byte ${this.pos}`);
  }
}

/** Encodes a struct; the inverse of `decodeThrift`. */
export function encodeThrift(struct: ThriftStruct): Uint8Array {
  const out: number[] = [];
  const chunks: Uint8Array[] = [];
  writeStruct(struct, out, chunks);
  chunks.push(Uint8Array.from(out));
  return Buffer.concat(chunks);
}

function writeStruct(struct: ThriftStruct, out: number[], chunks: Uint8Array[]): void {
  let last = 0;
  for (const [id, field] of [...struct].sort(([a], [b]) => a - b)) {
    const type =
      field.type === typeTrue || field.type === typeFalse
        ? field.value === true
          ? typeTrue
          : typeFalse
        : field.type;
    if (id > last && id - last <= 15) out.push(((id - last) << 4) | type);
    else {
      out.push(type);
      writeVarint(zigzag(BigInt(id)), out);
    }
    last = id;
    writeValue(field, out, chunks, false);
  }
  out.push(0);
}

function writeValue(
  { type, value }: ThriftValue,
  out: number[],
  chunks: Uint8Array[],
  inList: boolean,
): void {
  if (typeof value === "boolean") {
    if (inList) out.push(value ? typeTrue : typeFalse);
  } else if (typeof value === "bigint") writeVarint(zigzag(value), out);
  else if (typeof value === "number") {
    if (type === typeByte) out.push(value & 0xff);
    else {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleLE(value);
      for (const byte of bytes) out.push(byte);
    }
  } else if (value instanceof Uint8Array) {
    writeVarint(BigInt(value.length), out);
    chunks.push(Uint8Array.from(out), value);
    out.length = 0;
  } else if (value instanceof Map) writeStruct(value, out, chunks);
  else {
    const { items, elementType } = value;
    if (items.length < 15) out.push((items.length << 4) | elementType);
    else {
      out.push(0xf0 | elementType);
      writeVarint(BigInt(items.length), out);
    }
    for (const item of items) writeValue(item, out, chunks, true);
  }
}

function zigzag(value: bigint): bigint {
  return BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
}

function writeVarint(value: bigint, out: number[]): void {
  let rest = value;
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
}
