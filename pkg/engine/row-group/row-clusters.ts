/**
 * Finds the ranges of rows that hold all spans of some traces in a row group, so that only the
 * pages of these ranges are read.
 */
import type { RowRange } from "#pkg/parquet/parquet.ts";
import type { Column, ColumnBatch, DictColumn } from "#pkg/columns/columns.ts";

/** Ranges closer than this are merged. About the number of rows in a page. */
const gapRowsMax = 8192;
/** All rows are read if there are more ranges, or if they hold a larger share of the rows. */
const rangesMax = 8;
const shareMax = 0.5;

/**
 * Returns ascending ranges that hold all rows of the wanted traces; no trace is in two ranges.
 * Returns one range of all rows if reading fewer rows would not pay.
 *
 * @param wanted 1 for each code of a wanted trace.
 */
export function clustersOf({ codes }: DictColumn, wanted: Uint8Array): RowRange[] {
  const all = [{ from: 0, to: codes.length }];
  const clusters: RowRange[] = [];
  /** Number of the trace's cluster, from 1; 0: none yet. */
  const clusterOf = new Uint8Array(wanted.length);
  let rows = 0;
  for (let row = 0; row < codes.length; row++) {
    const code = codes[row];
    if (wanted[code] === 0) continue;
    let last = clusters.at(-1);
    if (last === undefined || row - last.to > gapRowsMax) {
      if (clusters.length === rangesMax) return all;
      last = { from: row, to: row };
      clusters.push(last);
    }
    rows += row + 1 - last.to;
    last.to = row + 1;
    if (rows > codes.length * shareMax) return all;
    // Usually the spans of a trace are adjacent. If they are not, no single range holds them all.
    if (clusterOf[code] !== 0 && clusterOf[code] !== clusters.length) return all;
    clusterOf[code] = clusters.length;
  }
  return clusters;
}

/** Returns a batch with the rows of the range and only the column of trace ids. */
export function idsInRange({ codes, dictionary, type }: DictColumn, range: RowRange): ColumnBatch {
  const column: Column = {
    kind: "dict",
    type,
    codes: codes.subarray(range.from, range.to),
    dictionary,
  };
  return {
    rows: range.to - range.from,
    names: ["trace_id"],
    column: (name) => (name === "trace_id" ? column : undefined),
  };
}
