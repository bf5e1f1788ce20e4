/**
 * SQL statements for DuckDB that read a table of blocks correctly: a view of all spans in the files
 * of a snapshot, and macros that look up an attribute in its columns and in the rest lists.
 *
 * Both are needed. In each block the rare attributes are in rest lists, so a column alone has too
 * few values. The folder also holds files that no commit names, so reading all files finds too many
 * spans.
 */
import {
  type ColumnType,
  columnType,
  fixedColumns,
  parseAttributeColumn,
} from "#pkg/columns/columns.ts";

export interface SqlTable {
  /** Paths or URLs of the files of one snapshot of the table. */
  files: readonly string[];
  /** Names of the table's columns. */
  columns: readonly string[];
}

const duckTypes: Readonly<Record<ColumnType, string>> = {
  string: "VARCHAR",
  binary: "BLOB",
  int64: "BIGINT",
  int32: "INTEGER",
  double: "DOUBLE",
  bool: "BOOLEAN",
  "list<string>": "VARCHAR[]",
  "list<binary>": "BLOB[]",
  "list<int64>": "BIGINT[]",
  "list<int32>": "INTEGER[]",
};

/** Converts a value of a rest list to text; its first letter is its type (rest-value.ts). */
const restText = `CREATE OR REPLACE MACRO spoor_rest_text(value) AS CASE value[1]
  WHEN 'd' THEN CAST(CAST(substr(value, 2) AS DOUBLE) AS VARCHAR)
  WHEN 'b' THEN CASE value WHEN 'b1' THEN 'true' ELSE 'false' END
  ELSE substr(value, 2) END;`;

/** Returns the last value of a key: it counts if a span has the key more than once. */
const restValue = `CREATE OR REPLACE MACRO spoor_rest(keys, items, key) AS spoor_rest_text(
  items[nullif(len(keys) + 1 - list_position(list_reverse(keys), key), len(keys) + 1)]);`;

/**
 * Returns the statements. They create the view `spans` and the macros `span_attribute(spans, key)`,
 * `resource_attribute` and `scope_attribute`. A macro returns an attribute's value as text, NULL if
 * the span has none. Its first argument is the view's name or alias in the query.
 */
export function duckdbStatements({ files, columns }: SqlTable): string {
  const names = [...new Set([...Object.keys(fixedColumns), ...columns])];
  const known = names.filter((name) => columnType(name) !== undefined);
  // The view has all columns of the table, even those that no file has.
  const typed = known.map((name) => `CAST(NULL AS ${duckTypes[columnType(name)!]}) AS ${id(name)}`);
  const none = `SELECT ${typed.join(", ")} WHERE false`;
  const list = `[\n  ${files.map(text).join(",\n  ")}\n]`;
  const all =
    files.length === 0
      ? none
      : `${none}\nUNION ALL BY NAME SELECT * FROM read_parquet(${list}, union_by_name = true)`;
  return [
    `CREATE OR REPLACE VIEW spans AS ${all};`,
    restText,
    restValue,
    attributeMacro("span", known),
    attributeMacro("resource", known),
    attributeMacro("scope", known),
    "",
  ].join("\n");
}

function attributeMacro(scope: "span" | "resource" | "scope", columns: readonly string[]): string {
  const namesOf = new Map<string, string[]>();
  for (const name of columns) {
    const attribute = parseAttributeColumn(name);
    if (attribute?.scope !== scope) continue;
    namesOf.set(attribute.key, [...(namesOf.get(attribute.key) ?? []), name]);
  }
  const cases = [...namesOf].map(([key, names]) => {
    const values = names.map((name) => `CAST(s.${id(name)} AS VARCHAR)`);
    return `  WHEN ${text(key)} THEN coalesce(${values.join(", ")})`;
  });
  const column = cases.length === 0 ? "" : `,\n  CASE key\n${cases.join("\n")} END`;
  const rest = `spoor_rest(s.${scope}_rest_key, s.${scope}_rest_value, key)`;
  return `CREATE OR REPLACE MACRO ${scope}_attribute(s, key) AS coalesce(${rest}${column});`;
}

function id(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
