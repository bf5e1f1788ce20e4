/**
 * The table's schema: a Delta Lake struct of nullable fields, one per column.
 *
 * Fields that other engines added are kept unchanged. Types are short strings ("long",
 * "array<string>"); a type that Spoor never writes is represented by its JSON.
 */
import { type Reason, SpoorError } from "#pkg/errors/errors.ts";
import { corrupt, isObject, own, parseObject, printObject } from "./json.ts";
import { stringField } from "./json.ts";
import type { ColumnDef, Field } from "./table-model.ts";

/** Maximum columns of one table. */
export const columnsMax = 2000;
/** Maximum fields that are read from a schema. */
const fieldsReadMax = 20_000;
const namePattern = /^[A-Za-z0-9_./:-]{1,160}$/u;
const scalarTypes: readonly string[] = [
  "string",
  "long",
  "integer",
  "short",
  "byte",
  "float",
  "double",
  "boolean",
  "binary",
  "date",
  "timestamp",
];

export function decodeSchema(text: string, where: string): Field[] {
  const schema = parseObject(text, `${where}: schemaString`);
  const fields = own(schema, "fields");
  if (own(schema, "type") !== "struct" || !Array.isArray(fields)) {
    throw corrupt(where, "schemaString is not a struct with fields");
  }
  if (fields.length > fieldsReadMax) throw corrupt(where, `schema of ${fields.length} fields`);
  const names = new Set<string>();
  return fields.map((json: unknown) => {
    if (!isObject(json)) throw corrupt(where, "a field of the schema is not an object");
    const name = stringField(json, "name", `${where}: schemaString`);
    if (names.has(name)) throw corrupt(where, `column ${name} is in the schema twice`);
    names.add(name);
    printObject(json, where);
    return { name, type: decodeType(own(json, "type"), where), json };
  });
}

export function encodeSchema(fields: readonly Field[]): string {
  return JSON.stringify({ type: "struct", fields: fields.map((field) => field.json) });
}

/** Throws InvalidInput for columns that are invalid or contradict each other. */
export function checkColumns(columns: readonly ColumnDef[]): void {
  const known = new Map<string, ColumnDef>();
  for (const column of columns) {
    const { name, type } = column;
    const twin = known.get(name.toLowerCase());
    if (twin !== undefined && (twin.name !== name || twin.type !== type)) {
      throw invalid(column, `it contradicts column ${twin.name} of type ${twin.type}`);
    }
    known.set(name.toLowerCase(), column);
    if (!namePattern.test(name))
      throw invalid(column, "its name is not 1 to 160 of the characters A-Z a-z 0-9 _ . / : -");
    if (!isColumnType(type)) throw invalid(column, "its type is unknown");
  }
  if (known.size > columnsMax) {
    const message = `${known.size} columns in one change exceed ${columnsMax}`;
    throw new SpoorError("InvalidInput", message, { reason: "invalid_column" });
  }
}

/**
 * Returns the fields plus the missing columns; `fields` itself if none is missing. Throws Conflict:
 * "schema_conflict" if the table has a column with another type or spelling (DuckDB ignores case),
 * "too_many_columns" if it would exceed the limit. Another writer was first then, and the caller
 * must rewrite the block.
 */
export function mergeColumns(
  fields: readonly Field[],
  columns: readonly ColumnDef[],
): readonly Field[] {
  const known = new Map(fields.map((field) => [field.name.toLowerCase(), field]));
  const merged = [...fields];
  for (const { name, type } of columns) {
    const field = known.get(name.toLowerCase());
    if (field === undefined) {
      const added = fieldOf(name, type);
      merged.push(added);
      known.set(name.toLowerCase(), added);
    } else if (field.name !== name || field.type !== type) {
      const has = `column ${field.name} of type ${field.type}`;
      throw conflict(
        "schema_conflict",
        `the table has ${has}, the change has ${name} of type ${type}`,
      );
    }
  }
  if (merged.length === fields.length) return fields;
  if (merged.length > columnsMax) {
    throw conflict("too_many_columns", `${merged.length} columns exceed ${columnsMax}`);
  }
  return merged;
}

function fieldOf(name: string, type: string): Field {
  return { name, type, json: { name, type: encodeType(type), nullable: true, metadata: {} } };
}

function encodeType(type: string): unknown {
  if (!type.startsWith("array<")) return type;
  const elementType = encodeType(type.slice("array<".length, -1));
  return { type: "array", elementType, containsNull: true };
}

function decodeType(type: unknown, where: string, depth = 0): string {
  if (typeof type === "string") return type;
  if (!isObject(type)) throw corrupt(where, "a type in the schema is neither text nor object");
  const isArray = own(type, "type") === "array" && own(type, "containsNull") === true;
  if (!isArray || depth === 2) return printObject(type, where);
  return `array<${decodeType(own(type, "elementType"), where, depth + 1)}>`;
}

/** Checks at run time that a type is a ColumnType. */
function isColumnType(type: string): boolean {
  let element = type;
  for (let depth = 0; depth < 2; depth++) {
    if (element.startsWith("array<") && element.endsWith(">")) element = element.slice(6, -1);
  }
  return scalarTypes.includes(element);
}

function invalid(column: ColumnDef, why: string): SpoorError {
  const shown = `${JSON.stringify(column.name.slice(0, 200))} of type ${column.type.slice(0, 40)}`;
  const message = `invalid column ${shown}: ${why}`;
  return new SpoorError("InvalidInput", message, { reason: "invalid_column" });
}

function conflict(reason: Reason, why: string): SpoorError {
  return new SpoorError("Conflict", `merge columns: ${why}`, { reason });
}
