/**
 * Copies of some rows of a batch as plain data, for transfer to another thread or process.
 * Dictionaries hold only the values that the rows use.
 */
import {
  batchOf,
  type ByteValues,
  type Column,
  type ColumnBatch,
  type DictColumn,
  isValid,
  type ListColumn,
  valueBytes,
} from "./column-batch.ts";

export interface NamedColumn {
  name: string;
  column: Column;
}

/** A ColumnBatch as data, without empty columns. */
export interface BatchData {
  rows: number;
  columns: NamedColumn[];
}

/** Returns the data as a batch. */
export function batchOfData({ rows, columns }: BatchData): ColumnBatch {
  return batchOf(rows, new Map(columns.map(({ name, column }) => [name, column])));
}

/** Copies the rows, in this order, of the named columns that the batch has. */
export function gatherRows(
  batch: ColumnBatch,
  rows: ArrayLike<number>,
  names: readonly string[] = batch.names,
): BatchData {
  const columns = names.flatMap((name): NamedColumn[] => {
    const column = batch.column(name);
    if (column === undefined) return [];
    const some = gatherColumn(column, rows);
    return some === undefined ? [] : [{ name, column: some }];
  });
  return { rows: rows.length, columns };
}

/** Returns the size of the data's arrays, bytes. */
export function bytesOfData({ columns }: BatchData): number {
  return arraysOf({ columns }).reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** Returns the arrays that hold the values; they can be transferred without a copy. */
export function arraysOf({ columns }: Pick<BatchData, "columns">): ArrayBufferView[] {
  return columns.flatMap(({ column }) => arraysOfColumn(column));
}

function arraysOfColumn(column: Column): ArrayBufferView[] {
  switch (column.kind) {
    case "dict":
      return [column.codes, column.dictionary.bytes, column.dictionary.offsets];
    case "list":
      return [column.offsets, ...arraysOfColumn(column.child)];
    default:
      return column.valid === undefined ? [column.values] : [column.values, column.valid];
  }
}

/** Returns undefined if all rows are null or all lists are empty. */
function gatherColumn(column: Column, rows: ArrayLike<number>): Column | undefined {
  switch (column.kind) {
    case "dict":
      return gatherDict(column, rows);
    case "list":
      return gatherList(column, rows);
    default: {
      const valid = gatherBits(column.valid, rows);
      if (valid === "none") return undefined;
      const values = gatherValues(column.values, rows);
      return { kind: column.kind, values, valid } as Column;
    }
  }
}

type Values = BigInt64Array | Int32Array | Float64Array | Uint8Array;

function gatherValues(values: Values, rows: ArrayLike<number>): Values {
  const out = new (values.constructor as new (length: number) => Values)(rows.length);
  for (let i = 0; i < rows.length; i++) out[i] = values[rows[i]];
  return out;
}

/** Copies a bitmap; undefined if all bits are set, "none" if no bit is. */
function gatherBits(
  valid: Uint8Array | undefined,
  rows: ArrayLike<number>,
): Uint8Array | undefined | "none" {
  if (valid === undefined) return undefined;
  const out = new Uint8Array((rows.length + 7) >> 3);
  let count = 0;
  for (let i = 0; i < rows.length; i++) {
    if (!isValid(valid, rows[i])) continue;
    out[i >> 3] |= 1 << (i & 7);
    count++;
  }
  if (count === rows.length) return undefined;
  return count === 0 ? "none" : out;
}

function gatherDict(
  { type, codes, dictionary }: DictColumn,
  rows: ArrayLike<number>,
): DictColumn | undefined {
  const renamed = renames(dictionary.length, rows.length);
  const kept: number[] = [];
  const out = new Int32Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    const code = codes[rows[i]];
    let own = code < 0 ? -1 : renamed.get(code);
    if (own === undefined) {
      own = kept.push(code) - 1;
      renamed.set(code, own);
    }
    out[i] = own;
  }
  if (kept.length === 0) return undefined;
  return { kind: "dict", type, codes: out, dictionary: someValues(dictionary, kept) };
}

/** Maps old codes to new ones. Uses a Map if the dictionary is much longer than the rows. */
function renames(length: number, rows: number): Renames {
  if (length > rows * 16) return new Map<number, number>();
  const codes = new Int32Array(length).fill(-1);
  return {
    get: (code) => (codes[code] < 0 ? undefined : codes[code]),
    set: (code, own) => {
      codes[code] = own;
    },
  };
}

interface Renames {
  get(code: number): number | undefined;
  set(code: number, own: number): void;
}

/** Copies the values of some codes, in this order. */
function someValues(values: ByteValues, codes: readonly number[]): ByteValues {
  const { offsets: ends } = values;
  const offsets = new Int32Array(codes.length + 1);
  for (let i = 0; i < codes.length; i++) {
    offsets[i + 1] = offsets[i] + ends[codes[i] + 1] - ends[codes[i]];
  }
  const bytes = new Uint8Array(offsets[codes.length]);
  for (let i = 0; i < codes.length; i++) bytes.set(valueBytes(values, codes[i]), offsets[i]);
  return { bytes, offsets, length: codes.length };
}

function gatherList(
  { offsets, child }: ListColumn,
  rows: ArrayLike<number>,
): ListColumn | undefined {
  const ends = new Int32Array(rows.length + 1);
  for (let i = 0; i < rows.length; i++) {
    ends[i + 1] = ends[i] + offsets[rows[i] + 1] - offsets[rows[i]];
  }
  const items = new Int32Array(ends[rows.length]);
  if (items.length === 0) return undefined;
  for (let i = 0, at = 0; i < rows.length; i++) {
    for (let item = offsets[rows[i]]; item < offsets[rows[i] + 1]; item++) items[at++] = item;
  }
  return { kind: "list", offsets: ends, child: gatherColumn(child, items) as ListColumn["child"] };
}

/** Estimates the bytes of rows; counts each dictionary value once. */
export class RowSizes {
  readonly #columns: { column: Column; seen: Uint8Array }[];

  constructor(batch: ColumnBatch, names: readonly string[]) {
    this.#columns = names.flatMap((name) => {
      const column = batch.column(name);
      if (column === undefined) return [];
      const values = column.kind === "list" ? column.child : column;
      const length = values.kind === "dict" ? values.dictionary.length : 0;
      return [{ column, seen: new Uint8Array(length) }];
    });
  }

  /** Returns the additional bytes of rows that were not added before. */
  add(rows: readonly number[]): number {
    let sizeBytes = 0;
    for (const { column, seen } of this.#columns) {
      for (const row of rows) {
        if (column.kind !== "list") {
          sizeBytes += sizeOfItem(column, row, seen);
          continue;
        }
        sizeBytes += 4;
        for (let i = column.offsets[row]; i < column.offsets[row + 1]; i++) {
          sizeBytes += sizeOfItem(column.child, i, seen);
        }
      }
    }
    return sizeBytes;
  }
}

function sizeOfItem(column: Exclude<Column, ListColumn>, at: number, seen: Uint8Array): number {
  if (column.kind !== "dict") return column.values.BYTES_PER_ELEMENT;
  const code = column.codes[at];
  if (code < 0 || seen[code] === 1) return 4;
  seen[code] = 1;
  const { offsets } = column.dictionary;
  return 8 + offsets[code + 1] - offsets[code];
}
