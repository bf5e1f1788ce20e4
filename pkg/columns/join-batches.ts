/**
 * Concatenates batches. Dictionaries are merged, so that each distinct value occurs once. Rows of a
 * batch without a column are null (0 for counters). Columns are joined on first use.
 */
import { Ledger } from "#pkg/bytes/bytes.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { ByteDictionary } from "./byte-dictionary.ts";
import {
  type BoolColumn,
  type Column,
  type ColumnBatch,
  columnOf,
  type DictColumn,
  type DoubleColumn,
  type Int32Column,
  type Int64Column,
  isValid,
  type ListColumn,
} from "./column-batch.ts";

/** Returns the rows of all batches as one batch. Throws Corrupt if kinds of a column differ. */
export function joinBatches(parts: readonly ColumnBatch[]): ColumnBatch {
  if (parts.length === 1) return parts[0];
  const names = [...new Set(parts.flatMap((part) => part.names))];
  const columns = new Map<string, Column | undefined>();
  return {
    rows: parts.reduce((sum, { rows }) => sum + rows, 0),
    names,
    column: (name) => {
      if (!columns.has(name)) columns.set(name, joinedColumn(parts, name));
      return columns.get(name);
    },
  };
}

/** Items of one part: rows of a batch, or the list items of these rows. */
interface Piece<C> {
  /** Undefined if all items are null. */
  column: C | undefined;
  from: number;
  length: number;
}

function joinedColumn(parts: readonly ColumnBatch[], name: string): Column | undefined {
  const first = parts.find((part) => part.column(name) !== undefined)?.column(name);
  if (first === undefined) return undefined;
  const piecesOf = <K extends Column["kind"]>(kind: K): Piece<Extract<Column, { kind: K }>>[] =>
    parts.map((part) => ({ column: columnOf(part, name, kind), from: 0, length: part.rows }));
  if (first.kind === "list") return joinedList(piecesOf("list"), name);
  return joinedPieces(first.kind, piecesOf(first.kind));
}

function joinedPieces(
  kind: Exclude<Column["kind"], "list">,
  pieces: readonly Piece<Exclude<Column, ListColumn>>[],
): Exclude<Column, ListColumn> {
  switch (kind) {
    case "dict":
      return joinedDict(pieces as readonly Piece<DictColumn>[]);
    case "int64":
      return { kind, ...joinedValues(pieces as readonly Piece<Int64Column>[], BigInt64Array) };
    case "int32":
      return { kind, ...joinedValues(pieces as readonly Piece<Int32Column>[], Int32Array, true) };
    case "double":
      return { kind, ...joinedValues(pieces as readonly Piece<DoubleColumn>[], Float64Array) };
    default:
      return { kind, ...joinedValues(pieces as readonly Piece<BoolColumn>[], Uint8Array) };
  }
}

function lengthOf(pieces: readonly Piece<unknown>[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

function joinedDict(pieces: readonly Piece<DictColumn>[]): DictColumn {
  const own = pieces.flatMap(({ column }) => column ?? []);
  const { type } = own[0];
  const codes = new Int32Array(lengthOf(pieces)).fill(-1);
  // One dictionary needs no merging.
  const merged = own.length === 1 ? undefined : new ByteDictionary(new Ledger(), 0);
  let at = 0;
  for (const { column, from, length } of pieces) {
    if (column !== undefined) {
      const renamed = merged && internAll(column, merged);
      for (let i = 0; i < length; i++) {
        const code = column.codes[from + i];
        codes[at + i] = code < 0 || renamed === undefined ? code : renamed[code];
      }
    }
    at += length;
  }
  return { kind: "dict", type, codes, dictionary: merged?.values() ?? own[0].dictionary };
}

function internAll({ dictionary }: DictColumn, into: ByteDictionary): Int32Array {
  const { bytes, offsets, length } = dictionary;
  return Int32Array.from({ length }, (_, code) =>
    into.intern(bytes, offsets[code], offsets[code + 1]),
  );
}

/** @param isZero A missing column stands for zeros, not nulls. */
function joinedValues<T extends BigInt64Array | Int32Array | Float64Array | Uint8Array>(
  pieces: readonly Piece<{ values: T; valid: Uint8Array | undefined }>[],
  make: new (length: number) => T,
  isZero: boolean = false,
): { values: T; valid: Uint8Array | undefined } {
  const values = new make(lengthOf(pieces));
  const isFull = pieces.every(
    ({ column, length }) =>
      length === 0 || (column === undefined ? isZero : column.valid === undefined),
  );
  const valid = isFull ? undefined : new Uint8Array((values.length + 7) >> 3);
  let at = 0;
  for (const { column, from, length } of pieces) {
    if (column !== undefined) {
      values.set(column.values.subarray(from, from + length) as never, at);
    }
    if (valid !== undefined && (column !== undefined || isZero)) {
      for (let i = 0; i < length; i++) {
        if (isValid(column?.valid, from + i)) valid[(at + i) >> 3] |= 1 << ((at + i) & 7);
      }
    }
    at += length;
  }
  return { values, valid };
}

function joinedList(pieces: readonly Piece<ListColumn>[], name: string): ListColumn {
  const offsets = new Int32Array(lengthOf(pieces) + 1);
  const items: Piece<Exclude<Column, ListColumn>>[] = [];
  let kind: Exclude<Column["kind"], "list"> | undefined;
  let at = 0;
  for (const { column, from, length } of pieces) {
    const first = column?.offsets[from] ?? 0;
    const shift = offsets[at] - first;
    for (let i = 1; i <= length; i++) {
      offsets[at + i] = column === undefined ? offsets[at] : column.offsets[from + i] + shift;
    }
    at += length;
    if (column === undefined) continue;
    const { child } = column;
    kind ??= child.kind;
    if (child.kind !== kind) {
      throw new SpoorError("Corrupt", `items of column ${name} are ${child.kind}, not ${kind}`);
    }
    items.push({ column: child, from: first, length: column.offsets[from + length] - first });
  }
  return { kind: "list", offsets, child: joinedPieces(kind!, items) as ListColumn["child"] };
}
