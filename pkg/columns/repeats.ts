/**
 * Finds duplicate spans in any batch: spans equal in every field, whether the batch has an
 * attribute in a column or in a rest list. Uses the rule of duplicates.ts (heads) and `mergeWire`
 * (wire).
 */
import {
  type Column,
  type ColumnBatch,
  columnOf,
  type DictColumn,
  isValid,
  type ListColumn,
  valueText,
} from "./column-batch.ts";
import { formatRestValue } from "./rest-value.ts";
import { parseAttributeColumn, traceColumnNames } from "./schema.ts";
import { scalarValue } from "./spans.ts";

/**
 * Returns 0 for each row that duplicates an earlier row, else 1; undefined without duplicates.
 * Reads all columns.
 */
export function findRepeats(batch: ColumnBatch): Uint8Array | undefined {
  const suspects = rowsOfSameIds(batch);
  if (suspects.length === 0) return undefined;
  const contents = new SpanContents(batch);
  const seen = new Set<string>();
  let keep: Uint8Array | undefined;
  for (const row of suspects) {
    const { size } = seen;
    if (seen.add(contents.of(row)).size > size) continue;
    keep ??= new Uint8Array(batch.rows).fill(1);
    keep[row] = 0;
  }
  return keep;
}

/** Returns rows whose trace and span id occur more than once, ascending. */
function rowsOfSameIds(batch: ColumnBatch): number[] {
  const traces = columnOf(batch, "trace_id", "dict");
  const ids = columnOf(batch, "span_id", "int64");
  if (traces === undefined || ids === undefined) return [];
  const firstOf = new Map<bigint, number[]>();
  const suspects = new Set<number>();
  for (let row = 0; row < batch.rows; row++) {
    const known = firstOf.get(ids.values[row]);
    if (known === undefined) {
      firstOf.set(ids.values[row], [row]);
      continue;
    }
    const first = known.find((other) => traces.codes[other] === traces.codes[row]);
    if (first === undefined) known.push(row);
    else suspects.add(first).add(row);
  }
  return [...suspects].sort((a, b) => a - b);
}

type AttributeOwner = "resource" | "span" | "scope";

/** The word that null stands for, by column. */
const absentWords: Readonly<Record<string, string>> = { kind: "unspecified", status: "unset" };

/** The column of a field, and the code that equals null in it. */
interface Field {
  column: Column;
  /** The code of the text that null stands for, -1 if no row has it. */
  nullCode: number;
}

/** Converts rows to texts that are equal only if all fields are equal. */
class SpanContents {
  readonly #batch: ColumnBatch;
  readonly #fields: Field[] = [];
  readonly #attributes: Record<AttributeOwner, { key: string; column: Column }[]> = {
    resource: [],
    span: [],
    scope: [],
  };

  constructor(batch: ColumnBatch) {
    this.#batch = batch;
    for (const name of batch.names) {
      const column = batch.column(name);
      if (column === undefined || traceColumnNames.includes(name)) continue;
      const attribute = parseAttributeColumn(name);
      if (attribute !== undefined) {
        this.#attributes[attribute.scope].push({ key: attribute.key, column });
      } else if (!/^(span|resource|scope)_rest_(key|value)$/.test(name)) {
        this.#fields.push({ column, nullCode: codeOf(column, absentWords[name] ?? "") });
      }
    }
  }

  of(row: number): string {
    const cells = this.#fields.map((field) => cellText(field, row));
    const owners = ["resource", "scope", "span"] as const;
    return JSON.stringify([cells, ...owners.map((owner) => this.#attributesOf(owner, row))]);
  }

  /** Returns attributes with their values, sorted by key; values of one key keep their order. */
  #attributesOf(owner: AttributeOwner, row: number): [string, string][] {
    const out: [string, string][] = [];
    for (const { key, column } of this.#attributes[owner]) {
      const value = scalarValue(column, row);
      if (value !== undefined) out.push([key, formatRestValue(value)]);
    }
    const keys = columnOf(this.#batch, `${owner}_rest_key`, "list");
    const values = columnOf(this.#batch, `${owner}_rest_value`, "list");
    for (let i = keys?.offsets[row] ?? 0; i < (keys?.offsets[row + 1] ?? 0); i++) {
      out.push([itemText(keys!, i), itemText(values!, i)]);
    }
    return out.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  }
}

function itemText({ child }: ListColumn, at: number): string {
  const { codes, dictionary } = child as DictColumn;
  return valueText(dictionary, codes[at]);
}

function codeOf(column: Column, text: string): number {
  if (column.kind !== "dict" || column.type !== "string") return -1;
  const { dictionary } = column;
  for (let code = 0; code < dictionary.length; code++) {
    const length = dictionary.offsets[code + 1] - dictionary.offsets[code];
    if (length === text.length && valueText(dictionary, code) === text) return code;
  }
  return -1;
}

function cellText({ column, nullCode }: Field, row: number): string {
  switch (column.kind) {
    case "dict": {
      const code = column.codes[row];
      return code < 0 || code === nullCode ? "" : String(code);
    }
    case "list": {
      const { offsets, child } = column;
      const items: string[] = [];
      for (let i = offsets[row]; i < offsets[row + 1]; i++) {
        items.push(cellText({ column: child, nullCode: -2 }, i));
      }
      return items.join(",");
    }
    case "int32":
      return String(isValid(column.valid, row) ? column.values[row] : 0);
    default:
      return isValid(column.valid, row) ? String(column.values[row]) : "-";
  }
}
