/**
 * The shared representation of spans: a batch of spans as columns. Heads, row groups read from a
 * bucket and row groups to be written all implement `ColumnBatch`.
 *
 * An absent column stands for null in strings and attributes, 0 in counters, and empty lists.
 * `schema.ts` names the columns; FORMAT.md in pkg/block describes them on disk.
 */

import { SpoorError } from "#pkg/errors/errors.ts";

/** Byte strings one after another: value i is bytes[offsets[i], offsets[i + 1]). */
export interface ByteValues {
  bytes: Uint8Array;
  /** At least `length + 1` offsets. */
  offsets: Uint32Array | Int32Array;
  length: number;
}

/** Strings or binaries by dictionary: codes[row] is an index into `dictionary`, -1 is null. */
export interface DictColumn {
  kind: "dict";
  type: "string" | "binary";
  codes: Int32Array;
  dictionary: ByteValues;
}

/**
 * 64-bit integers. `valid` is an Arrow bitmap (bit set = value present); undefined = all present.
 */
export interface Int64Column {
  kind: "int64";
  readonly values: BigInt64Array;
  readonly valid: Uint8Array | undefined;
  /** The values by dictionary, if the column was read in this form (coded-int64.ts). */
  readonly coded?: CodedInts;
}

/** codes[row] is an index into `entries`; rows without a value have any code. */
export interface CodedInts {
  codes: Uint8Array | Int32Array;
  entries: BigInt64Array;
}

export interface Int32Column {
  kind: "int32";
  values: Int32Array;
  valid: Uint8Array | undefined;
}

export interface DoubleColumn {
  kind: "double";
  values: Float64Array;
  valid: Uint8Array | undefined;
}

/** Booleans, one byte per row: 0 or 1. */
export interface BoolColumn {
  kind: "bool";
  values: Uint8Array;
  valid: Uint8Array | undefined;
}

/** Lists: row's items are child[offsets[row], offsets[row + 1]). Items are never null. */
export interface ListColumn {
  kind: "list";
  offsets: Int32Array;
  child: DictColumn | Int64Column | Int32Column;
}

export type Column =
  | DictColumn
  | Int64Column
  | Int32Column
  | DoubleColumn
  | BoolColumn
  | ListColumn;

export interface ColumnBatch {
  readonly rows: number;
  /** Names of the columns that are not empty. */
  readonly names: readonly string[];
  /** Returns the column, or undefined if it is empty. The caller must not write to it. */
  column(name: string): Column | undefined;
}

/** Returns whether bit `row` of an Arrow validity bitmap is set; without a bitmap all are valid. */
export function isValid(valid: Uint8Array | undefined, row: number): boolean {
  return valid === undefined || (valid[row >> 3] & (1 << (row & 7))) !== 0;
}

/** Returns a view of the bytes of dictionary entry `code`. */
export function valueBytes(values: ByteValues, code: number): Uint8Array {
  return values.bytes.subarray(values.offsets[code], values.offsets[code + 1]);
}

/** Returns the text of dictionary entry `code`. */
export function valueText(values: ByteValues, code: number): string {
  const { bytes, offsets } = values;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString(
    "utf8",
    offsets[code],
    offsets[code + 1],
  );
}

/** Returns a batch over existing columns. */
export function batchOf(rows: number, columns: ReadonlyMap<string, Column>): ColumnBatch {
  return { rows, names: [...columns.keys()], column: (name) => columns.get(name) };
}

/** Returns the column `name`; undefined if it is absent. Throws Corrupt if its kind differs. */
export function columnOf<K extends Column["kind"]>(
  batch: ColumnBatch,
  name: string,
  kind: K,
): Extract<Column, { kind: K }> | undefined {
  const column = batch.column(name);
  if (column === undefined) return undefined;
  if (column.kind !== kind) {
    throw new SpoorError("Corrupt", `column ${name} is ${column.kind}, expected ${kind}`);
  }
  return column as Extract<Column, { kind: K }>;
}

/** Views 64-bit integers as pairs of words, low word first: ten times faster than bigints. */
export function wordPairs({ buffer, byteOffset, length }: BigInt64Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length * 2);
}
