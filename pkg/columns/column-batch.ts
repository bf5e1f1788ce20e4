/**
 * The shape that everything shares: a batch of spans as columns. Heads, row groups read from a
 * bucket and row groups about to be written all look like one `ColumnBatch`.
 *
 * A column that is absent holds nothing: null for strings and attributes, 0 for counters, empty for
 * lists. `schema.ts` names the columns; FORMAT.md in pkg/block describes them on disk.
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
  /** The same by dictionary, where the column came like that: `CodedInt64` of its own file. */
  readonly coded?: CodedInts;
}

/** codes[row] is an index into `entries`; any code stands where no value is. */
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
  /** Names of the columns that hold something. */
  readonly names: readonly string[];
  /** The column, or undefined when it holds nothing. The caller must not write to it. */
  column(name: string): Column | undefined;
}

/** Whether bit `row` of an Arrow validity bitmap is set; an absent bitmap means all valid. */
export function isValid(valid: Uint8Array | undefined, row: number): boolean {
  return valid === undefined || (valid[row >> 3] & (1 << (row & 7))) !== 0;
}

/** The bytes of dictionary entry `code`; a view. */
export function valueBytes(values: ByteValues, code: number): Uint8Array {
  return values.bytes.subarray(values.offsets[code], values.offsets[code + 1]);
}

/** The text of dictionary entry `code`. */
export function valueText(values: ByteValues, code: number): string {
  const { bytes, offsets } = values;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString(
    "utf8",
    offsets[code],
    offsets[code + 1],
  );
}

/** A batch over columns that are already made. */
export function batchOf(rows: number, columns: ReadonlyMap<string, Column>): ColumnBatch {
  return { rows, names: [...columns.keys()], column: (name) => columns.get(name) };
}

/** The column `name` if it is of this kind; undefined when absent; throws on another kind. */
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

/** 64-bit integers as pairs of words, the low one first: bigints would cost ten times as much. */
export function wordPairs({ buffer, byteOffset, length }: BigInt64Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length * 2);
}
