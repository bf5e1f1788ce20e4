/**
 * 64-bit fingerprints of spans over the columns that a search reads. They show possible duplicates
 * without reading all columns. They use values, not dictionary codes: a span has the same
 * fingerprint in every batch.
 */
import {
  type ColumnBatch,
  columnOf,
  type DictColumn,
  type Int64Column,
  isValid,
  valueBytes,
} from "#pkg/columns/columns.ts";
import { serviceColumn } from "./service.ts";

const numberColumns = ["span_id", "parent_span_id", "start_unix_nano", "duration_nano"] as const;
const textColumns = ["name", "status"] as const;

export class Fingerprints {
  readonly #numbers: (Int64Column | undefined)[];
  readonly #texts: TextHashes[];

  constructor(batch: ColumnBatch) {
    this.#numbers = numberColumns.map((name) => columnOf(batch, name, "int64"));
    const texts = textColumns.map((name) => columnOf(batch, name, "dict"));
    this.#texts = [...texts, serviceColumn(batch)].map((column) => new TextHashes(column));
  }

  ofRows(rows: readonly number[]): BigUint64Array {
    const out = new BigUint64Array(rows.length);
    const words = new Uint32Array(out.buffer);
    const pair = new Uint32Array(2);
    rows.forEach((row, i) => {
      pair[0] = 0x9e3779b9;
      pair[1] = 0x7f4a7c15;
      for (const column of this.#numbers) {
        const value = column !== undefined && isValid(column.valid, row) ? column.values[row] : 0n;
        mix(pair, Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn));
      }
      for (const texts of this.#texts) {
        const hash = texts.at(row);
        mix(pair, hash[0], hash[1]);
      }
      words[i * 2] = pair[0];
      words[i * 2 + 1] = pair[1];
    });
    return out;
  }
}

/** Hashes of a dictionary's values, each computed on first use. */
class TextHashes {
  readonly #column: DictColumn | undefined;
  readonly #hashes = new Map<number, Uint32Array>();

  constructor(column: DictColumn | undefined) {
    this.#column = column;
  }

  at(row: number): Uint32Array {
    const code = this.#column?.codes[row] ?? -1;
    const known = this.#hashes.get(code);
    if (known !== undefined) return known;
    const hash = Uint32Array.of(0x811c9dc5, 0x2f0b4a27);
    // A batch without the column has null instead of "": both must have the same hash.
    if (code >= 0) {
      for (const byte of valueBytes(this.#column!.dictionary, code)) mix(hash, byte, byte + 1);
    }
    this.#hashes.set(code, hash);
    return hash;
  }
}

/** Mixes two words into a pair with murmur3's round; crosses the words so that order matters. */
function mix(pair: Uint32Array, low: number, high: number): void {
  const a = Math.imul(pair[0] ^ low, 0xcc9e2d51);
  const b = Math.imul(pair[1] ^ high, 0x1b873593);
  pair[0] = Math.imul(((a << 15) | (a >>> 17)) ^ pair[1], 5) + 0xe6546b64;
  pair[1] = Math.imul(((b << 13) | (b >>> 19)) ^ pair[0], 0x85ebca6b) + 0x38b34ae5;
}
