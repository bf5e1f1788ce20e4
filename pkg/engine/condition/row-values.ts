// HOT: runs per row of every search with a condition; measured by filter.bench.ts.
/**
 * Values of one kind in the rows of a batch, tested by a predicate. Each dictionary entry is tested
 * once, and rows look up the result by code. Numbers are tested in place.
 */
import {
  type ByteValues,
  type Int64Column,
  isValid,
  valueBytes,
  valueText,
  wordPairs,
} from "#pkg/columns/columns.ts";
import { type NumberRows, numberKinds, numbersOfEach, readInts } from "./number-values.ts";
import { answers, lookUpCodes, lookUpValidCodes, type Pass, seenCodes, wordsOf } from "./passes.ts";
import { int64Max, int64Min, type IntRange, type Predicate } from "./predicate.ts";
import { markMatches } from "./text-match.ts";
import type { Value } from "./values.ts";

/** At most one value per row. */
export interface RowValues {
  get(row: number): Value | undefined;
  test(predicate: Predicate, pass: Pass): void;
  /**
   * Writes the numbers of the pending rows that have a value, and sets `pending` to 0 for these
   * rows. A value of another type counts as no number.
   */
  numbers(pending: Uint8Array, out: NumberRows): void;
}

/** Strings, or words and ids, by dictionary code. */
export class DictValues implements RowValues {
  readonly #codes: Int32Array | undefined;
  readonly #dictionary: ByteValues;
  readonly #make: (text: string) => Value;
  /** The value of null; undefined: null is no value. */
  readonly #absent: Value | undefined;

  constructor(
    column: { codes: Int32Array; dictionary: ByteValues } | undefined,
    make: (text: string) => Value,
    absent?: Value,
  ) {
    this.#codes = column?.codes;
    this.#dictionary = column?.dictionary ?? noValues;
    this.#make = make;
    this.#absent = absent;
  }

  get(row: number): Value | undefined {
    const code = this.#codes === undefined ? -1 : this.#codes[row];
    return code < 0 ? this.#absent : this.#make(valueText(this.#dictionary, code));
  }

  test(predicate: Predicate, pass: Pass): void {
    const codes = this.#codes ?? new Int32Array(pass.pending.length).fill(-1);
    const { text, pattern } = predicate;
    const isWord = this.#absent?.type === "status" || this.#absent?.type === "kind";
    let table: Uint8Array;
    if (text !== undefined && !isWord) table = this.#askEqual(predicate, text);
    else if (pattern !== undefined && !isWord) table = this.#askPattern(predicate, codes, pass);
    else table = this.#askSeen(predicate, codes, pass.pending);
    lookUpCodes(codes, table, pass);
  }

  numbers(pending: Uint8Array): void {
    if (this.#absent !== undefined) pending.fill(0);
    else if (this.#codes !== undefined) {
      for (let row = 0; row < pending.length; row++) if (this.#codes[row] >= 0) pending[row] = 0;
    }
  }

  /** Compares the bytes of every entry. */
  #askEqual(predicate: Predicate, { bytes, isEqual }: NonNullable<Predicate["text"]>): Uint8Array {
    const dictionary = this.#dictionary;
    const table = new Uint8Array(dictionary.length + 1);
    if (this.#absent !== undefined) table[0] = answerOf(predicate.value(this.#absent));
    for (let code = 0; code < dictionary.length; code++) {
      table[code + 1] = answerOf(equalBytes(dictionary, code, bytes) === isEqual);
    }
    return table;
  }

  /** Matches the bytes of the entries that a pending row has. */
  #askPattern(predicate: Predicate, codes: Int32Array, { pending }: Pass): Uint8Array {
    const { pattern, isMatch } = predicate.pattern!;
    const dictionary = this.#dictionary;
    const marks = seenCodes(codes, pending, dictionary.length).subarray(1);
    markMatches(dictionary, pattern, marks);
    const table = new Uint8Array(dictionary.length + 1);
    if (this.#absent !== undefined) table[0] = answerOf(predicate.value(this.#absent));
    for (let code = 0; code < marks.length; code++) {
      table[code + 1] = answerOf((marks[code] === 1) === isMatch);
    }
    return table;
  }

  /** Tests only entries that a pending row has: a test may be expensive or throw. */
  #askSeen(predicate: Predicate, codes: Int32Array, pending: Uint8Array): Uint8Array {
    const table = seenCodes(codes, pending, this.#dictionary.length);
    for (let place = 0; place < table.length; place++) {
      if (table[place] === 0) {
        // No pending row has this entry: any answer will do.
        table[place] = answers.no;
        continue;
      }
      const value = place === 0 ? this.#absent : this.#make(valueText(this.#dictionary, place - 1));
      table[place] = value === undefined ? answers.none : answerOf(predicate.value(value));
    }
    return table;
  }
}

function answerOf(isHit: boolean): number {
  return isHit ? answers.yes : answers.no;
}

const noValues: ByteValues = { bytes: new Uint8Array(0), offsets: new Uint32Array(1), length: 0 };

function equalBytes(values: ByteValues, code: number, wanted: Uint8Array): boolean {
  const from = values.offsets[code];
  if (values.offsets[code + 1] - from !== wanted.length) return false;
  for (let i = 0; i < wanted.length; i++) if (values.bytes[from + i] !== wanted[i]) return false;
  return true;
}

/** 64-bit integers or durations. */
export class IntValues implements RowValues {
  readonly #column: Pick<Int64Column, "values" | "valid" | "coded">;
  readonly #type: "int" | "duration";

  constructor(
    column: Pick<Int64Column, "values" | "valid" | "coded">,
    type: "int" | "duration" = "int",
  ) {
    this.#column = column;
    this.#type = type;
  }

  get(row: number): Value | undefined {
    if (!isValid(this.#column.valid, row)) return undefined;
    return { type: this.#type, value: this.#column.values[row] };
  }

  test(predicate: Predicate, pass: Pass): void {
    const { valid, coded } = this.#column;
    if (predicate.ints !== undefined) {
      if (coded === undefined) {
        testInts(this.#column.values, valid, predicate.ints, pass);
        return;
      }
      const table = tableOfEntries(coded.entries, predicate.ints);
      if (valid === undefined) lookUpCodes(coded.codes, table, pass);
      else lookUpValidCodes(coded.codes, valid, table, pass);
      return;
    }
    testEach(this, predicate, pass);
  }

  numbers(pending: Uint8Array, out: NumberRows): void {
    const { valid, coded } = this.#column;
    const kind = numberKinds[this.#type];
    if (coded === undefined) {
      readInts(this.#column.values, { valid, kind }, pending, out);
      return;
    }
    const entries = coded.entries.length;
    const known = { values: new Float64Array(entries), kinds: new Uint8Array(entries) };
    readInts(coded.entries, { valid: undefined, kind }, new Uint8Array(entries).fill(1), known);
    const { codes } = coded;
    for (let row = 0; row < pending.length; row++) {
      if (pending[row] === 0) continue;
      if (valid !== undefined && (valid[row >> 3] & (1 << (row & 7))) === 0) continue;
      pending[row] = 0;
      out.values[row] = known.values[codes[row]];
      out.kinds[row] = known.kinds[codes[row]];
    }
  }
}

/** Returns the table of a dictionary, by code + 1. Numbers have no code -1. */
function tableOfEntries(entries: BigInt64Array, range: IntRange): Uint8Array {
  const pending = new Uint8Array(entries.length).fill(1);
  const hits = new Uint8Array(entries.length);
  testInts(entries, undefined, range, { pending, hits });
  const table = new Uint8Array(entries.length + 1).fill(answers.no);
  for (let code = 0; code < hits.length; code++) table[code + 1] = answerOf(hits[code] === 1);
  return table;
}

/** Tests integers as word pairs. */
function testInts(
  values: BigInt64Array,
  valid: Uint8Array | undefined,
  { min, max, isInside }: IntRange,
  { pending, hits }: Pass,
): void {
  const words = wordPairs(values);
  const isEmpty = min > max || min > int64Max || max < int64Min;
  const bounds = new Int32Array(
    BigInt64Array.of(min < int64Min ? int64Min : min, max > int64Max ? int64Max : max).buffer,
  );
  const minLow = bounds[0] >>> 0;
  const minHigh = bounds[1];
  const maxLow = bounds[2] >>> 0;
  const maxHigh = bounds[3];
  const inside = isInside ? 1 : 0;
  const four = wordsOf(pending);
  for (let row = 0; row < pending.length; row++) {
    if ((row & 3) === 0 && row >> 2 < four.length && four[row >> 2] === 0) {
      row += 3;
      continue;
    }
    if (pending[row] === 0) continue;
    if (valid !== undefined && (valid[row >> 3] & (1 << (row & 7))) === 0) continue;
    pending[row] = 0;
    const low = words[row * 2] >>> 0;
    const high = words[row * 2 + 1];
    const isIn =
      !isEmpty &&
      (high > minHigh || (high === minHigh && low >= minLow)) &&
      (high < maxHigh || (high === maxHigh && low <= maxLow));
    hits[row] = isIn ? inside : 1 - inside;
  }
}

/** Returns whether the range treats all negative integers as it treats zero. */
function isZeroAlike({ min, max }: IntRange): boolean {
  return min > 0n || (min <= int64Min && max >= 0n);
}

function clamped(values: BigInt64Array): BigInt64Array {
  const words = wordPairs(values);
  const out = values.slice();
  for (let row = 0; row < out.length; row++) if (words[row * 2 + 1] < 0) out[row] = 0n;
  return out;
}

/** Durations of the column; negative ones count as zero. */
export class DurationValues implements RowValues {
  readonly #values: BigInt64Array;

  constructor({ values }: Pick<Int64Column, "values">) {
    this.#values = values;
  }

  get(row: number): Value {
    const value = this.#values[row];
    return { type: "duration", value: value < 0n ? 0n : value };
  }

  test(predicate: Predicate, pass: Pass): void {
    const { ints } = predicate;
    if (ints === undefined) testEach(this, predicate, pass);
    else testInts(isZeroAlike(ints) ? this.#values : clamped(this.#values), undefined, ints, pass);
  }

  numbers(pending: Uint8Array, out: NumberRows): void {
    const kind = numberKinds.duration;
    readInts(clamped(this.#values), { valid: undefined, kind }, pending, out);
  }
}

export class DoubleValues implements RowValues {
  readonly #values: Float64Array;
  readonly #valid: Uint8Array | undefined;

  constructor(column: { values: Float64Array; valid: Uint8Array | undefined }) {
    this.#values = column.values;
    this.#valid = column.valid;
  }

  get(row: number): Value | undefined {
    if (!isValid(this.#valid, row)) return undefined;
    return { type: "float", value: this.#values[row] };
  }

  test(predicate: Predicate, pass: Pass): void {
    testEach(this, predicate, pass);
  }

  numbers(pending: Uint8Array, out: NumberRows): void {
    numbersOfEach(this, pending, out);
  }
}

export class BoolValues implements RowValues {
  readonly #values: Uint8Array;
  readonly #valid: Uint8Array | undefined;

  constructor(column: { values: Uint8Array; valid: Uint8Array | undefined }) {
    this.#values = column.values;
    this.#valid = column.valid;
  }

  get(row: number): Value | undefined {
    return isValid(this.#valid, row) ? { type: "bool", value: this.#values[row] === 1 } : undefined;
  }

  test(predicate: Predicate, pass: Pass): void {
    testEach(this, predicate, pass);
  }

  numbers(pending: Uint8Array, out: NumberRows): void {
    numbersOfEach(this, pending, out);
  }
}

/** Span ids: 8 bytes stored as an integer, shown as hex; an absent id is the empty text. */
export class IdValues implements RowValues {
  readonly #values: BigInt64Array | undefined;
  readonly #valid: Uint8Array | undefined;

  constructor(column: { values: BigInt64Array; valid: Uint8Array | undefined } | undefined) {
    this.#values = column?.values;
    this.#valid = column?.valid;
  }

  get(row: number): Value {
    if (this.#values === undefined || !isValid(this.#valid, row)) return noId;
    const id = BigInt.asUintN(64, this.#values[row]);
    return { type: "string", value: id.toString(16).padStart(16, "0") };
  }

  test(predicate: Predicate, pass: Pass): void {
    testEach(this, predicate, pass);
  }

  numbers(pending: Uint8Array, out: NumberRows): void {
    numbersOfEach(this, pending, out);
  }
}

const noId: Value = { type: "string", value: "" };

/** Values by code, each made on first use: attributes in rest lists. */
export class CodedValues implements RowValues {
  readonly #codes: Int32Array;
  readonly #values: (Value | undefined)[];
  readonly #make: (code: number) => Value;

  /** @param codes One per row, -1 for none. */
  constructor(codes: Int32Array, make: (code: number) => Value) {
    this.#codes = codes;
    this.#values = [];
    this.#make = make;
  }

  get(row: number): Value | undefined {
    const code = this.#codes[row];
    if (code < 0) return undefined;
    return (this.#values[code] ??= this.#make(code));
  }

  test(predicate: Predicate, { pending, hits }: Pass): void {
    const known = new Map<number, number>();
    for (let row = 0; row < pending.length; row++) {
      const code = this.#codes[row];
      if (pending[row] === 0 || code < 0) continue;
      let hit = known.get(code);
      if (hit === undefined) {
        hit = predicate.value(this.get(row)!) ? 1 : 0;
        known.set(code, hit);
      }
      pending[row] = 0;
      hits[row] = hit;
    }
  }

  numbers(pending: Uint8Array, out: NumberRows): void {
    numbersOfEach(this, pending, out);
  }
}

function testEach(values: RowValues, predicate: Predicate, { pending, hits }: Pass): void {
  for (let row = 0; row < pending.length; row++) {
    if (pending[row] === 0) continue;
    const value = values.get(row);
    if (value === undefined) continue;
    pending[row] = 0;
    hits[row] = predicate.value(value) ? 1 : 0;
  }
}

/** Returns the hex text of a dictionary entry of bytes: ids of links. */
export function hexOf(dictionary: ByteValues, code: number): string {
  return Buffer.from(valueBytes(dictionary, code)).toString("hex");
}
