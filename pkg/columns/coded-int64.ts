// HOT: runs per value read from a block; measured by `npm run bench:search`.
/** 64-bit integers by dictionary; the plain array is built on first use. */
import { type CodedInts, type Int64Column, wordPairs } from "./column-batch.ts";

export class CodedInt64 implements Int64Column {
  readonly kind = "int64";
  readonly valid: Uint8Array | undefined;
  readonly coded: CodedInts;
  #values: BigInt64Array | undefined;

  constructor(coded: CodedInts, valid: Uint8Array | undefined) {
    this.coded = coded;
    this.valid = valid;
  }

  get values(): BigInt64Array {
    return (this.#values ??= lookUp(this.coded));
  }
}

/** Looks up all values, as pairs of words. */
function lookUp({ codes, entries }: CodedInts): BigInt64Array {
  const words = new Int32Array(codes.length * 2);
  const from = wordPairs(entries);
  for (let row = 0; row < codes.length; row++) {
    const code = codes[row] * 2;
    words[row * 2] = from[code];
    words[row * 2 + 1] = from[code + 1];
  }
  return new BigInt64Array(words.buffer);
}
