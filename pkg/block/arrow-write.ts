// HOT: runs per value at each cut; measured by `npm run bench` (cut).
/**
 * Columns of a batch as an Arrow record batch in IPC form, the input of parquet-wasm. Dictionaries
 * are reduced to the values that the rows use, so every row group has its own.
 */
import {
  Binary,
  Bool,
  type Data,
  type DataType,
  Dictionary,
  Field,
  Float64,
  Int32,
  Int64,
  List,
  makeData,
  makeVector,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableToIPC,
  Utf8,
} from "apache-arrow";
import type {
  BoolColumn,
  ByteValues,
  Column,
  DictColumn,
  DoubleColumn,
  Int32Column,
  Int64Column,
  ListColumn,
} from "#pkg/columns/columns.ts";

/** A named column restricted to the rows of one row group. */
export interface NamedColumn {
  name: string;
  column: Column;
}

/** The Arrow IPC stream of `columns`, all with `rows` rows. */
export function encodeArrow(columns: readonly NamedColumn[], rows: number): Uint8Array {
  const ids = { next: 0 };
  const fields: Field[] = [];
  const children: Data[] = [];
  for (const { name, column } of columns) {
    const data = columnData(column, rows, ids);
    fields.push(new Field(name, data.type as DataType, true));
    children.push(data);
  }
  const schema = new Schema(fields);
  const struct = makeData({ type: new Struct(fields), length: rows, nullCount: 0, children });
  return tableToIPC(new Table(schema, [new RecordBatch(schema, struct)]), "stream");
}

function columnData(column: Column, rows: number, ids: { next: number }): Data {
  switch (column.kind) {
    case "dict":
      return dictData(column, rows, ids);
    case "list": {
      const child = columnData(column.child, column.offsets[rows], ids);
      const item = new Field("item", child.type as DataType, true);
      return makeData({
        type: new List(item),
        length: rows,
        nullCount: 0,
        valueOffsets: column.offsets,
        child,
      });
    }
    case "bool":
      return makeData({
        type: new Bool(),
        length: rows,
        nullCount: nullCount(column.valid, rows),
        nullBitmap: column.valid,
        data: packBits(column.values),
      });
    default:
      return makeData({
        type:
          column.kind === "int64"
            ? new Int64()
            : column.kind === "int32"
              ? new Int32()
              : new Float64(),
        length: rows,
        nullCount: nullCount(column.valid, rows),
        nullBitmap: column.valid,
        data: column.values,
      } as never);
  }
}

function dictData(column: DictColumn, rows: number, ids: { next: number }): Data {
  const value = column.type === "binary" ? new Binary() : new Utf8();
  const { dictionary, codes } = column;
  const values = makeData({
    type: value,
    length: dictionary.length,
    nullCount: 0,
    valueOffsets: dictionary.offsets as Int32Array,
    data: dictionary.bytes,
  } as never) as Data;
  let nulls = 0;
  const valid = new Uint8Array((rows + 7) >> 3);
  const indices = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const code = codes[row];
    if (code < 0) nulls++;
    else {
      indices[row] = code;
      valid[row >> 3] |= 1 << (row & 7);
    }
  }
  return makeData({
    type: new Dictionary(value, new Int32(), ids.next++, false),
    length: rows,
    nullCount: nulls,
    nullBitmap: nulls === 0 ? undefined : valid,
    data: indices,
    dictionary: makeVector(values),
  } as never) as Data;
}

function nullCount(valid: Uint8Array | undefined, rows: number): number {
  if (valid === undefined) return 0;
  let count = rows;
  for (let row = 0; row < rows; row++) count -= (valid[row >> 3] >> (row & 7)) & 1;
  return count;
}

function packBits(values: Uint8Array): Uint8Array {
  const out = new Uint8Array((values.length + 7) >> 3);
  for (let row = 0; row < values.length; row++) out[row >> 3] |= (values[row] & 1) << (row & 7);
  return out;
}

/** Rows [from, to) of a column, with a dictionary of only the values that they use. */
export function sliceColumn(column: Column, from: number, to: number): Column {
  switch (column.kind) {
    case "dict":
      return sliceDict(column, from, to);
    case "list": {
      const start = column.offsets[from];
      const offsets = column.offsets.slice(from, to + 1);
      for (let i = 0; i < offsets.length; i++) offsets[i] -= start;
      const child = sliceColumn(column.child, start, column.offsets[to]) as ListColumn["child"];
      return { kind: "list", offsets, child };
    }
    default: {
      const values = column.values.subarray(from, to);
      const valid = sliceBits(column.valid, from, to);
      return { kind: column.kind, values, valid } as
        | Int64Column
        | Int32Column
        | DoubleColumn
        | BoolColumn;
    }
  }
}

function sliceBits(
  valid: Uint8Array | undefined,
  from: number,
  to: number,
): Uint8Array | undefined {
  if (valid === undefined) return undefined;
  const out = new Uint8Array((to - from + 7) >> 3);
  const first = from >> 3;
  const shift = from & 7;
  for (let i = 0; i < out.length; i++) {
    const next = first + i + 1 < valid.length ? valid[first + i + 1] : 0;
    out[i] = (valid[first + i] >> shift) | (next << (8 - shift));
  }
  // Bits of rows after the last are zero.
  const used = (to - from) & 7;
  if (used !== 0) out[out.length - 1] &= (1 << used) - 1;
  return out;
}

function sliceDict(column: DictColumn, from: number, to: number): DictColumn {
  const { codes, dictionary } = column;
  const renamed = new Int32Array(dictionary.length).fill(-1);
  const out = new Int32Array(to - from);
  const kept: number[] = [];
  let sizeBytes = 0;
  for (let row = from; row < to; row++) {
    const code = codes[row];
    if (code < 0) {
      out[row - from] = -1;
      continue;
    }
    if (renamed[code] < 0) {
      renamed[code] = kept.length;
      kept.push(code);
      sizeBytes += dictionary.offsets[code + 1] - dictionary.offsets[code];
    }
    out[row - from] = renamed[code];
  }
  return { ...column, codes: out, dictionary: pick(dictionary, kept, sizeBytes) };
}

function pick(dictionary: ByteValues, kept: readonly number[], sizeBytes: number): ByteValues {
  const bytes = new Uint8Array(sizeBytes);
  const offsets = new Int32Array(kept.length + 1);
  let at = 0;
  for (let i = 0; i < kept.length; i++) {
    const start = dictionary.offsets[kept[i]];
    const end = dictionary.offsets[kept[i] + 1];
    if (end - start > 64) bytes.set(dictionary.bytes.subarray(start, end), at);
    else for (let j = start; j < end; j++) bytes[at + j - start] = dictionary.bytes[j];
    at += end - start;
    offsets[i + 1] = at;
  }
  return { bytes, offsets, length: kept.length };
}
