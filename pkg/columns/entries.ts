/** Sparse lists of a head (attributes, events, links), restricted to the rows of a batch. */
import type { HeadData, SparseData } from "./head.ts";

/** Entries of a list that belong to a batch: parallel arrays of list index and batch row. */
export interface Entries {
  entry: Uint32Array;
  at: Uint32Array;
  length: number;
}

/** The parts of a batch over a head that list columns use. */
export interface HeadRowsView {
  readonly rows: number;
  readonly data: HeadData;
  /** Returns the entries of a list that belong to this batch. `listRows` ascends. */
  entries(listRows: Uint32Array): Entries;
  /** Returns the span attributes that are not columns of this batch. */
  unchosenSparse(): SparseData[];
}

/**
 * Returns the Arrow offsets of a list column, and the list's entries in the order of the batch's
 * rows. Entries of one row keep their order.
 */
export function listOffsets(
  entries: Entries,
  rows: number,
): { offsets: Int32Array; order: Uint32Array } {
  const offsets = new Int32Array(rows + 1);
  for (let i = 0; i < entries.length; i++) offsets[entries.at[i] + 1]++;
  for (let row = 0; row < rows; row++) offsets[row + 1] += offsets[row];
  const next = offsets.slice(0, rows);
  const order = new Uint32Array(entries.length);
  for (let i = 0; i < entries.length; i++) order[next[entries.at[i]]++] = entries.entry[i];
  return { offsets, order };
}
