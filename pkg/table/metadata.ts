/** The `protocol` and `metaData` actions: the required reader version, and the schema. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { decodeSchema, encodeSchema } from "./columns.ts";
import type { Field, MetaData } from "./table-model.ts";
import { corrupt, type JsonObject, optionalObject, own, printObject } from "./json.ts";
import { stringField, stringMap, uintField } from "./json.ts";

/** Version of Spoor's own content in the table: paths, tags, columns. See FORMAT.md. */
export const formatVersion = 1;
/** Key of `formatVersion` in the table's configuration. */
export const formatVersionKey = "spoor.formatVersion";
/** Delta Lake protocol versions; features of later ones are not used. */
export const readerVersion = 1;
export const writerVersion = 2;

/** Returns the metadata of a new table. `id` is a UUID, `createdMs` ms since the epoch. */
export function newMetaData(id: string, createdMs: number, fields: readonly Field[]): MetaData {
  const json = {
    id,
    format: { provider: "parquet", options: {} },
    partitionColumns: [],
    configuration: { [formatVersionKey]: String(formatVersion) },
    createdTime: createdMs,
  };
  return withFields({ fields: [], columns: new Map(), json }, fields);
}

export function withFields(metaData: MetaData, fields: readonly Field[]): MetaData {
  const columns = new Map(fields.map(({ name, type }) => [name, type]));
  return { fields, columns, json: metaData.json };
}

export function encodeMetaData(metaData: MetaData): JsonObject {
  return { ...metaData.json, schemaString: encodeSchema(metaData.fields) };
}

export function decodeMetaData(json: JsonObject, where: string): MetaData {
  printObject(json, where);
  const fields = decodeSchema(stringField(json, "schemaString", where), where);
  const partitionColumns = own(json, "partitionColumns") ?? [];
  if (!Array.isArray(partitionColumns) || partitionColumns.length > 0) {
    throw corrupt(where, "the table has partition columns, which Spoor does not write");
  }
  const provider = stringField(optionalObject(json, "format", where) ?? {}, "provider", where);
  if (provider !== "parquet") throw corrupt(where, `the table's format is ${provider}`);
  checkFormatVersion(stringMap(json, "configuration", where), where);
  const { schemaString: _reencoded, ...rest } = json;
  return withFields({ fields: [], columns: new Map(), json: rest }, fields);
}

/** Throws Corrupt, "newer_format", if the table needs a newer reader or writer. */
export function checkProtocol(json: JsonObject, where: string): void {
  const reader = uintField(json, "minReaderVersion", where);
  const writer = uintField(json, "minWriterVersion", where);
  if (reader > readerVersion || writer > writerVersion) {
    const known = `this Spoor supports reader ${readerVersion} and writer ${writerVersion}`;
    throw newer(where, `it needs Delta Lake reader ${reader} and writer ${writer}; ${known}`);
  }
}

function checkFormatVersion(configuration: Readonly<Record<string, string>>, where: string): void {
  const text = configuration[formatVersionKey];
  if (text === undefined)
    throw corrupt(where, `${formatVersionKey} is missing: Spoor did not write this table`);
  if (!/^[1-9]\d{0,8}$/u.test(text)) throw corrupt(where, `${formatVersionKey} is not a version`);
  if (Number(text) > formatVersion) {
    throw newer(where, `${formatVersionKey} is ${text}; this Spoor supports ${formatVersion}`);
  }
}

function newer(where: string, what: string): SpoorError {
  return new SpoorError("Corrupt", `read ${where}: ${what}`, { reason: "newer_format" });
}
