// HOT: runs per value at each cut; measured by `npm run bench` (cut).
/**
 * Encodes columns as an Arrow record batch in IPC form, the input of parquet-wasm. The caller has
 * reduced each dictionary to the values that the rows use (slice-column.ts).
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
import type { Column, DictColumn } from "#pkg/columns/columns.ts";

/** A named column restricted to the rows of one row group. */
export interface NamedColumn {
  name: string;
  column: Column;
}

/** Encodes `columns`, which all have `rows` rows, as an Arrow IPC stream. */
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
