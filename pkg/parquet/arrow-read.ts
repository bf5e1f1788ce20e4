/** Converts the Arrow record batches that parquet-wasm returns to columns of a ColumnBatch. */
import { type Data, DataType, type Table, tableFromIPC, Type } from "apache-arrow";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { ByteValues, Column, DictColumn, ListColumn } from "#pkg/columns/columns.ts";

/** Decodes an Arrow IPC stream with one record batch of `rows` rows. Throws Corrupt. */
export function decodeArrow(ipc: Uint8Array, rows: number): Map<string, Column> {
  const table: Table = tableFromIPC(ipc);
  const columns = new Map<string, Column>();
  if (table.batches.length !== 1 && rows > 0) {
    throw new SpoorError(
      "Corrupt",
      `row group has ${table.batches.length} record batches, expected 1`,
    );
  }
  for (const [i, field] of table.schema.fields.entries()) {
    const data = table.batches[0].data.children[i];
    if (data.length !== rows) {
      throw new SpoorError("Corrupt", `column ${field.name} has ${data.length} rows, not ${rows}`);
    }
    columns.set(field.name, columnOfData(data, field.name));
  }
  return columns;
}

function columnOfData(data: Data, name: string): Column {
  if (data.offset !== 0) throw new SpoorError("Internal", `column ${name} starts at an offset`);
  const { type } = data;
  if (DataType.isDictionary(type)) return dictColumn(data, name);
  const valid = data.nullCount === 0 ? undefined : data.nullBitmap;
  if (DataType.isInt(type) && type.bitWidth === 64) {
    return { kind: "int64", values: data.values as BigInt64Array, valid };
  }
  if (DataType.isInt(type) && type.bitWidth === 32) {
    return { kind: "int32", values: data.values as Int32Array, valid };
  }
  if (DataType.isFloat(type)) {
    return { kind: "double", values: data.values as Float64Array, valid };
  }
  if (DataType.isBool(type)) {
    const bits = data.values as Uint8Array;
    const values = new Uint8Array(data.length);
    for (let row = 0; row < data.length; row++) values[row] = (bits[row >> 3] >> (row & 7)) & 1;
    return { kind: "bool", values, valid };
  }
  if (DataType.isList(type)) {
    const child = columnOfData(data.children[0], name);
    return {
      kind: "list",
      offsets: data.valueOffsets as Int32Array,
      child: child as ListColumn["child"],
    };
  }
  throw new SpoorError(
    "Corrupt",
    `column ${name} has the unexpected Arrow type ${Type[data.typeId]}`,
  );
}

function dictColumn(data: Data, name: string): DictColumn {
  const dictionary = data.dictionary;
  if (dictionary === undefined || dictionary.data.length > 1) {
    throw new SpoorError("Corrupt", `column ${name} has no dictionary or a chunked one`);
  }
  const codes = data.values as Int32Array;
  let out = codes;
  if (data.nullCount > 0) {
    const valid = data.nullBitmap;
    out = new Int32Array(data.length);
    for (let row = 0; row < data.length; row++) {
      out[row] = (valid[row >> 3] & (1 << (row & 7))) === 0 ? -1 : codes[row];
    }
  }
  const values = dictionary.data[0] as Data | undefined;
  const type = DataType.isBinary(dictionary.type) ? "binary" : "string";
  return { kind: "dict", type, codes: out, dictionary: byteValues(values) };
}

function byteValues(data: Data | undefined): ByteValues {
  if (data === undefined) {
    return { bytes: new Uint8Array(0), offsets: new Int32Array(1), length: 0 };
  }
  return {
    bytes: data.values as Uint8Array,
    offsets: data.valueOffsets as Int32Array,
    length: data.length,
  };
}
