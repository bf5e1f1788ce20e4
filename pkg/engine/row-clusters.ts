/**
 * Where in a row group some traces are: ranges of rows that hold all spans of them, so that only the
 * pages there need to be read.
 */
import type { RowRange } from "#pkg/block/pages.ts";
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
  const open = new Map<number, RowRange>();
  for (let row = 0; row < codes.length; row++) {
    if (wanted[codes[row]] === 0) continue;
    const range = open.get(codes[row]);
    if (range === undefined) open.set(codes[row], { from: row, to: row + 1 });
    else range.to = row + 1;
  }
  const clusters: RowRange[] = [];
  let rows = 0;
  for (const { from, to } of [...open.values()].sort((a, b) => a.from - b.from)) {
    const last = clusters.at(-1);
    if (last !== undefined && from - last.to <= gapRowsMax) last.to = Math.max(last.to, to);
    else clusters.push({ from, to });
  }
  for (const { from, to } of clusters) rows += to - from;
  return clusters.length > rangesMax || rows > codes.length * shareMax ? all : clusters;
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
