/**
 * Where in a row group some traces are: ranges of rows that hold all spans of them, so that only
 * the pages there need to be read.
 */
import type { RowRange } from "#pkg/parquet/parquet.ts";
import type { Column, ColumnBatch, DictColumn } from "#pkg/columns/columns.ts";

/** Ranges closer than this are one: a page has about as many rows. */
const gapRowsMax = 8192;
/** With more ranges, or when they hold more of the rows than this, all rows are read. */
const rangesMax = 8;
const shareMax = 0.5;

/**
 * Ranges that hold all rows of the wanted traces, ascending, no trace in two of them; one range of
 * all rows where reading less would not pay.
 *
 * @param wanted 1 for each code of a trace that is wanted.
 */
export function clustersOf({ codes }: DictColumn, wanted: Uint8Array): RowRange[] {
  const all = [{ from: 0, to: codes.length }];
  const clusters: RowRange[] = [];
  /** Which cluster a trace is in, from 1. */
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
    // Spans of a trace stand together; where they do not, no range holds them all.
    if (clusterOf[code] !== 0 && clusterOf[code] !== clusters.length) return all;
    clusterOf[code] = clusters.length;
  }
  return clusters;
}

/** The same rows of a column of ids. */
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
