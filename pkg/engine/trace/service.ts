/**
 * The service of each span: its resource's first `service.name`, if that is a string. A batch has
 * it in a column or among the rare attributes.
 */
import {
  type ColumnBatch,
  columnOf,
  DictBuilder,
  type DictColumn,
  type ListColumn,
  parseRestValue,
  valueText,
} from "#pkg/columns/columns.ts";

export const serviceColumnName = "resource.service.name";

/**
 * Columns of the rare attributes, which hold the service if there is no `resource.service.name`
 * column.
 */
export const serviceRestColumns: readonly string[] = ["resource_rest_key", "resource_rest_value"];

/**
 * Returns the service of each row; undefined if no span of the batch has a service. In a joined
 * batch, some rows may have it in the column and others among the rare attributes.
 */
export function serviceColumn(batch: ColumnBatch): DictColumn | undefined {
  const column = columnOf(batch, serviceColumnName, "dict");
  if (column?.codes.includes(-1) === false) return column;
  const keys = columnOf(batch, serviceRestColumns[0], "list");
  const values = columnOf(batch, serviceRestColumns[1], "list");
  if (keys === undefined || values === undefined) return column;
  const rest = fromRest(batch.rows, keys, values);
  return column === undefined || rest === undefined ? (column ?? rest) : filled(column, rest);
}

/** Fills nulls of a column with the values of another one. */
function filled(column: DictColumn, other: DictColumn): DictColumn {
  const builder = new DictBuilder();
  const codes = new Int32Array(column.codes.length).fill(-1);
  for (let row = 0; row < codes.length; row++) {
    const { codes: own, dictionary } = column.codes[row] < 0 ? other : column;
    if (own[row] >= 0) codes[row] = builder.code(valueText(dictionary, own[row]));
  }
  return builder.column(codes);
}

function fromRest(rows: number, keys: ListColumn, values: ListColumn): DictColumn | undefined {
  if (keys.child.kind !== "dict" || values.child.kind !== "dict") return undefined;
  const { dictionary } = keys.child;
  const wanted = new Set<number>();
  for (let code = 0; code < dictionary.length; code++) {
    if (valueText(dictionary, code) === "service.name") wanted.add(code);
  }
  if (wanted.size === 0) return undefined;
  const builder = new DictBuilder();
  const codes = new Int32Array(rows).fill(-1);
  for (let row = 0; row < rows; row++) {
    for (let i = keys.offsets[row]; i < keys.offsets[row + 1]; i++) {
      if (!wanted.has(keys.child.codes[i])) continue;
      const value = parseRestValue(valueText(values.child.dictionary, values.child.codes[i]));
      if (value.kind === "string") codes[row] = builder.code(value.value);
      break;
    }
  }
  return builder.column(codes);
}
