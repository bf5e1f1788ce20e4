/** Sparse lists of a head (attributes, events, links) seen through a batch of some of its rows. */
import type { HeadData, SparseData } from "./head.ts";

/** Entries of a list that belong to a batch: index in the list and row of the batch, parallel. */
export interface Entries {
  entry: Uint32Array;
  at: Uint32Array;
  length: number;
}

/** What list columns need of a batch over a head. */
export interface HeadRowsView {
  readonly rows: number;
  readonly data: HeadData;
  /** Which entries of a list, whose rows ascend, belong to this batch. */
  entries(listRows: Uint32Array): Entries;
  /** Span attributes that are not columns of this batch. */
  unchosenSparse(): SparseData[];
}

/**
 * Arrow offsets of a list column, and the list's entries in the order of the batch's rows (entries
 * of one row keep their order).
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
