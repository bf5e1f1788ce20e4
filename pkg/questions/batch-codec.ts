/** Codec of column batches: typed arrays in their memory layout. */
import type {
  BatchData,
  ByteValues,
  Column,
  ListColumn,
  NamedColumn,
} from "#pkg/columns/columns.ts";
import {
  bigInt64s,
  bytes,
  type Codec,
  count,
  float64s,
  int32s,
  list,
  optional,
  record,
  text,
  variant,
  word,
} from "#pkg/wire/wire.ts";

/** Codec of byte strings; writes only the offsets in use, as signed integers. */
const byteValues: Codec<ByteValues> = {
  write: (out, { bytes: all, offsets, length }) => {
    bytes.write(out, all.subarray(0, offsets[length]));
    int32s.write(out, Int32Array.from(offsets.subarray(0, length + 1)));
  },
  read: (from) => {
    const all = bytes.read(from);
    const offsets = int32s.read(from);
    const length = offsets.length - 1;
    const isInOrder = offsets.every((end, i) => end >= (i === 0 ? 0 : offsets[i - 1]));
    if (length < 0 || !isInOrder || offsets[length] !== all.length) {
      throw from.corrupt(`invalid offsets of a dictionary of ${all.length} bytes`);
    }
    return { bytes: all, offsets, length };
  },
};

type CaseOf<K extends Column["kind"]> = Omit<Extract<Column, { kind: K }>, "kind">;

const valid = optional(bytes);

const flatCases = {
  dict: record<CaseOf<"dict">>({
    type: word(["string", "binary"]),
    codes: int32s,
    dictionary: byteValues,
  }),
  int64: record<Omit<CaseOf<"int64">, "coded">>({ values: bigInt64s, valid }),
  int32: record<CaseOf<"int32">>({ values: int32s, valid }),
};

const child = variant<ListColumn["child"], "kind">("kind", flatCases);

const column: Codec<Column> = variant<Column, "kind">("kind", {
  ...flatCases,
  double: record<CaseOf<"double">>({ values: float64s, valid }),
  bool: record<CaseOf<"bool">>({ values: bytes, valid }),
  list: record<CaseOf<"list">>({ offsets: int32s, child }),
});

const named = list(record<NamedColumn>({ name: text, column }));

/** Codec of a batch. Throws Corrupt if a column's row count differs from the batch's. */
export const batchData: Codec<BatchData> = {
  write: (out, { rows, columns }) => {
    count.write(out, rows);
    named.write(out, columns);
  },
  read: (from) => {
    const rows = count.read(from);
    const columns = named.read(from);
    for (const { name, column: one } of columns) {
      if (!hasRows(one, rows)) throw from.corrupt(`column ${name} does not fit ${rows} rows`);
    }
    return { rows, columns };
  },
};

function hasRows(one: Column, rows: number): boolean {
  switch (one.kind) {
    case "dict":
      return one.codes.length === rows && one.codes.every((code) => code < one.dictionary.length);
    case "list": {
      const { offsets } = one;
      const isInOrder = offsets.every((end, i) => (i === 0 ? end === 0 : end >= offsets[i - 1]));
      return offsets.length === rows + 1 && isInOrder && hasRows(one.child, offsets[rows]);
    }
    default: {
      const isWhole = one.valid === undefined || one.valid.length >= (rows + 7) >> 3;
      return one.values.length === rows && isWhole;
    }
  }
}
