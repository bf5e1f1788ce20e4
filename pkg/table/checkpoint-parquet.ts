/**
 * The Parquet file of a checkpoint: one row per action, and one column of structs per kind of
 * action, as the Delta Lake protocol specifies. Input and output are the JSON lines of commits, so
 * that one decoder serves both. Loads parquet-wasm: only for worker threads (checkpoint-worker.ts).
 */
import {
  Bool,
  type DataType,
  Field,
  Int32,
  Int64,
  List,
  Map_,
  RecordBatchReader,
  Struct,
  Table as ArrowTable,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import {
  Compression,
  readParquet,
  Table,
  WriterPropertiesBuilder,
  writeParquet,
} from "parquet-wasm";
import { SpoorError } from "#pkg/errors/errors.ts";

/** The actions of a checkpoint and their fields; all others are dropped. */
const actionTypes: Readonly<Record<string, Struct>> = {
  protocol: structOf({ minReaderVersion: new Int32(), minWriterVersion: new Int32() }),
  metaData: structOf({
    id: new Utf8(),
    name: new Utf8(),
    description: new Utf8(),
    format: structOf({ provider: new Utf8(), options: mapType() }),
    schemaString: new Utf8(),
    partitionColumns: new List(new Field("element", new Utf8(), true)),
    createdTime: new Int64(),
    configuration: mapType(),
  }),
  txn: structOf({ appId: new Utf8(), version: new Int64(), lastUpdated: new Int64() }),
  add: structOf({
    path: new Utf8(),
    partitionValues: mapType(),
    size: new Int64(),
    modificationTime: new Int64(),
    dataChange: new Bool(),
    stats: new Utf8(),
    tags: mapType(),
  }),
  remove: structOf({
    path: new Utf8(),
    deletionTimestamp: new Int64(),
    dataChange: new Bool(),
    extendedFileMetadata: new Bool(),
    partitionValues: mapType(),
    size: new Int64(),
  }),
};

type Json = Readonly<Record<string, unknown>>;

/** Encodes lines of JSON, one action each, as a Parquet file. */
export function encodeCheckpoint(lines: string): Uint8Array {
  const actions = lines
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Json);
  const columns = Object.entries(actionTypes).map(([name, type]) => {
    const values = actions.map((action) => toArrow(type, action[name]));
    return [name, vectorFromArray(values, type)] as const;
  });
  const table = new ArrowTable(Object.fromEntries(columns));
  const properties = new WriterPropertiesBuilder().setCompression(Compression.ZSTD).build();
  return writeParquet(Table.fromIPCStream(tableToIPC(table, "stream")), properties);
}

/** Decodes a checkpoint to lines of JSON. Throws Corrupt, or panics (see pkg/block). */
export function decodeCheckpoint(bytes: Uint8Array): string {
  let ipc: Uint8Array;
  try {
    ipc = readParquet(bytes).intoIPCStream();
  } catch (cause) {
    throw new SpoorError("Corrupt", `Parquet reader refused the data: ${String(cause)}`, { cause });
  }
  const lines: string[] = [];
  for (const batch of RecordBatchReader.from(ipc)) {
    for (const [name, type] of Object.entries(actionTypes)) {
      const column = batch.getChild(name);
      for (let row = 0; row < (column?.length ?? 0); row++) {
        const action = fromArrow(type, column?.get(row));
        if (action !== undefined) lines.push(JSON.stringify({ [name]: action }));
      }
    }
  }
  return lines.map((line) => `${line}\n`).join("");
}

function structOf(fields: Readonly<Record<string, DataType>>): Struct {
  return new Struct(Object.entries(fields).map(([name, type]) => new Field(name, type, true)));
}

/** Returns a map type with the field names that other engines write. */
function mapType(): Map_ {
  const key = new Field("key", new Utf8(), false);
  const value = new Field("value", new Utf8(), true);
  return new Map_(new Field("key_value", new Struct([key, value]), false) as never);
}

/** Converts a JSON value to the form that Arrow's builders expect. */
function toArrow(type: DataType, value: unknown): unknown {
  if (value === undefined || value === null) return null;
  if (type instanceof Map_) return new Map(Object.entries(value));
  if (type instanceof Struct) {
    const entries = type.children.map(({ name, type: child }) => [
      name,
      toArrow(child, (value as Json)[name]),
    ]);
    return Object.fromEntries(entries) as unknown;
  }
  return type instanceof Int64 ? BigInt(value as number) : value;
}

/** Converts an Arrow value to JSON; null becomes undefined, so that the field is left out. */
function fromArrow(type: DataType, value: unknown): unknown {
  if (value === undefined || value === null) return undefined;
  if (type instanceof Map_) {
    const entries = [...(value as Iterable<[string, string | null]>)];
    return Object.fromEntries(entries.filter(([, text]) => text !== null));
  }
  if (type instanceof Struct) {
    const found = value as Json;
    const entries = type.children.flatMap(({ name, type: child }) => {
      const field = fromArrow(child, found[name]);
      return field === undefined ? [] : [[name, field]];
    });
    return Object.fromEntries(entries) as unknown;
  }
  if (type instanceof List) return [...(value as Iterable<unknown>)];
  return typeof value === "bigint" ? Number(value) : value;
}
