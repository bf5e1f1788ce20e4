// HOT: runs per value at each cut; measured by `npm run bench` (cut).
/** Slices columns by rows. */
import type {
  BoolColumn,
  ByteValues,
  Column,
  DictColumn,
  DoubleColumn,
  Int32Column,
  Int64Column,
  ListColumn,
} from "#pkg/columns/columns.ts";

/** Returns rows [from, to) of a column. Its dictionary has only the values that these rows use. */
export function sliceColumn(column: Column, from: number, to: number): Column {
  switch (column.kind) {
    case "dict":
      return sliceDict(column, from, to);
    case "list": {
      const start = column.offsets[from];
      const offsets = column.offsets.slice(from, to + 1);
      for (let i = 0; i < offsets.length; i++) offsets[i] -= start;
      const child = sliceColumn(column.child, start, column.offsets[to]) as ListColumn["child"];
      return { kind: "list", offsets, child };
    }
    default: {
      const values = column.values.subarray(from, to);
      const valid = sliceBits(column.valid, from, to);
      return { kind: column.kind, values, valid } as
        | Int64Column
        | Int32Column
        | DoubleColumn
        | BoolColumn;
    }
  }
}

function sliceBits(
  valid: Uint8Array | undefined,
  from: number,
  to: number,
): Uint8Array | undefined {
  if (valid === undefined) return undefined;
  const out = new Uint8Array((to - from + 7) >> 3);
  const first = from >> 3;
  const shift = from & 7;
  for (let i = 0; i < out.length; i++) {
    const next = first + i + 1 < valid.length ? valid[first + i + 1] : 0;
    out[i] = (valid[first + i] >> shift) | (next << (8 - shift));
  }
  // Bits after the last row are zero.
  const used = (to - from) & 7;
  if (used !== 0) out[out.length - 1] &= (1 << used) - 1;
  return out;
}

function sliceDict(column: DictColumn, from: number, to: number): DictColumn {
  const { codes, dictionary } = column;
  const renamed = new Int32Array(dictionary.length).fill(-1);
  const out = new Int32Array(to - from);
  const kept: number[] = [];
  let sizeBytes = 0;
  for (let row = from; row < to; row++) {
    const code = codes[row];
    if (code < 0) {
      out[row - from] = -1;
      continue;
    }
    if (renamed[code] < 0) {
      renamed[code] = kept.length;
      kept.push(code);
      sizeBytes += dictionary.offsets[code + 1] - dictionary.offsets[code];
    }
    out[row - from] = renamed[code];
  }
  return { ...column, codes: out, dictionary: pick(dictionary, kept, sizeBytes) };
}

function pick(dictionary: ByteValues, kept: readonly number[], sizeBytes: number): ByteValues {
  const bytes = new Uint8Array(sizeBytes);
  const offsets = new Int32Array(kept.length + 1);
  let at = 0;
  for (let i = 0; i < kept.length; i++) {
    const start = dictionary.offsets[kept[i]];
    const end = dictionary.offsets[kept[i] + 1];
    if (end - start > 64) bytes.set(dictionary.bytes.subarray(start, end), at);
    else for (let j = start; j < end; j++) bytes[at + j - start] = dictionary.bytes[j];
    at += end - start;
    offsets[i + 1] = at;
  }
  return { bytes, offsets, length: kept.length };
}
