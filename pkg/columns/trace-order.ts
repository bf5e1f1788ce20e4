// HOT: runs per span at each cut; measured by `npm run bench` (cut).
/**
 * The order of spans in a block. The spans of a trace are contiguous and ordered by start and id,
 * so that its tree and root do not depend on the order of arrival. Traces are ordered by their
 * earliest start; the newest ones get small row groups. Traces with a span far from the time of
 * ingest (bad clocks) come last, in separate row groups, so that they do not widen the time ranges
 * of the others. Times are compared as the signed 64-bit integers of the column.
 */
import type { HeadData } from "./head.ts";

export interface OrderOptions {
  /** Spans per row group at most. A longer trace gets a row group of its own. */
  rowGroupSpans: number;
  /** Starts outside [from, to) count as bad clocks; nanoseconds since the epoch. */
  plausibleFromNano: bigint;
  plausibleToNano: bigint;
  /** Spans of the row groups for the newest traces, newest last; by default [8192, 1024]. */
  newestSpans?: readonly number[];
}

export interface SpanOrder {
  /** Rows of the head in the block's order. */
  rowIds: Uint32Array;
  /** Offset of each trace in `rowIds`, then the total: trace count + 1 values. */
  traceStarts: Uint32Array;
  /** Row groups as [first trace, trace after the last), in order. */
  rowGroups: { firstTrace: number; endTrace: number }[];
}

/** Orders the rows `keep` (all rows of the head if undefined) of a frozen head. */
export function orderSpans(data: HeadData, options: OrderOptions, keep?: Uint8Array): SpanOrder {
  const traceCount = data.traceIds.length >>> 2;
  const { rows, starts } = groupByTrace(data, traceCount, keep);
  const { start } = data.perRow;
  for (let trace = 0; trace < traceCount; trace++) {
    sortByStart(rows, starts[trace], starts[trace + 1], data.perRow);
  }
  const outlier = findOutliers(rows, starts, start, options);
  const order = new Uint32Array(traceCount);
  let traces = 0;
  for (let trace = 0; trace < traceCount; trace++) {
    if (starts[trace + 1] > starts[trace]) order[traces++] = trace;
  }
  const sorted = order.subarray(0, traces).sort((a, b) => {
    if (outlier[a] !== outlier[b]) return outlier[a] - outlier[b];
    const rowA = rows[starts[a]] * 2;
    const rowB = rows[starts[b]] * 2;
    return (start[rowA + 1] | 0) - (start[rowB + 1] | 0) || start[rowA] - start[rowB] || a - b;
  });
  return assemble(sorted, rows, starts, outlier, options);
}

function groupByTrace(
  data: HeadData,
  traceCount: number,
  keep: Uint8Array | undefined,
): { rows: Uint32Array; starts: Uint32Array } {
  const { trace } = data.perRow;
  const starts = new Uint32Array(traceCount + 1);
  for (let row = 0; row < data.rows; row++) {
    if (keep === undefined || keep[row] !== 0) starts[trace[row] + 1]++;
  }
  for (let i = 0; i < traceCount; i++) starts[i + 1] += starts[i];
  const next = starts.slice(0, traceCount);
  const rows = new Uint32Array(starts[traceCount]);
  for (let row = 0; row < data.rows; row++) {
    if (keep === undefined || keep[row] !== 0) rows[next[trace[row]]++] = row;
  }
  return { rows, starts };
}

type StartsAndIds = Pick<HeadData["perRow"], "start" | "spanId">;

/** Sorts rows[from, to) by start time, by span id, then by row (arrival). */
function sortByStart(rows: Uint32Array, from: number, to: number, perRow: StartsAndIds): void {
  if (to - from > 24) {
    rows.subarray(from, to).sort((a, b) => compareRows(a, b, perRow));
    return;
  }
  for (let i = from + 1; i < to; i++) {
    const row = rows[i];
    let j = i - 1;
    for (; j >= from && compareRows(rows[j], row, perRow) > 0; j--) rows[j + 1] = rows[j];
    rows[j + 1] = row;
  }
}

function compareRows(a: number, b: number, { start, spanId }: StartsAndIds): number {
  return (
    (start[a * 2 + 1] | 0) - (start[b * 2 + 1] | 0) ||
    start[a * 2] - start[b * 2] ||
    spanId[a * 2] - spanId[b * 2] ||
    spanId[a * 2 + 1] - spanId[b * 2 + 1] ||
    a - b
  );
}

/** Marks with 1 each trace whose first or last start is implausible. */
function findOutliers(
  rows: Uint32Array,
  starts: Uint32Array,
  start: Uint32Array,
  options: OrderOptions,
): Uint8Array {
  const from = Number(options.plausibleFromNano);
  const to = Number(options.plausibleToNano);
  const outlier = new Uint8Array(starts.length - 1);
  for (let trace = 0; trace < outlier.length; trace++) {
    if (starts[trace + 1] === starts[trace]) continue;
    const first = rows[starts[trace]] * 2;
    const last = rows[starts[trace + 1] - 1] * 2;
    // Doubles are exact to 256 ns at today's epoch, which is enough for a bound of minutes.
    const firstNano = (start[first + 1] | 0) * 4294967296 + start[first];
    const lastNano = (start[last + 1] | 0) * 4294967296 + start[last];
    outlier[trace] = firstNano < from || lastNano >= to ? 1 : 0;
  }
  return outlier;
}

function assemble(
  sorted: Uint32Array,
  rows: Uint32Array,
  starts: Uint32Array,
  outlier: Uint8Array,
  { rowGroupSpans, newestSpans = defaultNewestSpans }: OrderOptions,
): SpanOrder {
  const rowIds = new Uint32Array(rows.length);
  const traceStarts = new Uint32Array(sorted.length + 1);
  const rowGroups: SpanOrder["rowGroups"] = [];
  let at = 0;
  let firstTrace = 0;
  let firstRow = 0;
  for (let i = 0; i < sorted.length; i++) {
    const trace = sorted[i];
    const size = starts[trace + 1] - starts[trace];
    const full = at - firstRow > 0 && at - firstRow + size > rowGroupSpans;
    const kindChanges = i > firstTrace && outlier[trace] !== outlier[sorted[i - 1]];
    if (full || kindChanges) {
      rowGroups.push({ firstTrace, endTrace: i });
      firstTrace = i;
      firstRow = at;
    }
    traceStarts[i] = at;
    rowIds.set(rows.subarray(starts[trace], starts[trace + 1]), at);
    at += size;
  }
  traceStarts[sorted.length] = at;
  if (sorted.length > firstTrace) rowGroups.push({ firstTrace, endTrace: sorted.length });
  const newest = rowGroups.findLastIndex((group) => outlier[sorted[group.firstTrace]] === 0);
  return {
    rowIds,
    traceStarts,
    rowGroups: rowGroups.flatMap((group, i) =>
      i === newest ? splitNewest(group, traceStarts, newestSpans) : group,
    ),
  };
}

/**
 * Spans of the newest row groups, newest last. Small groups let a search for the newest traces read
 * little: a frequent condition finds enough traces in the last 1,024 spans, a less frequent one in
 * the 8,192 before them.
 */
const defaultNewestSpans: readonly number[] = [8192, 1024];
/** A row group with fewer spans is not split. */
const splitSpansMin = 32_768;

/** Splits the newest traces off a row group into small row groups. */
function splitNewest(
  group: SpanOrder["rowGroups"][number],
  traceStarts: Uint32Array,
  newestSpans: readonly number[],
): SpanOrder["rowGroups"] {
  const spansOf = (from: number, to: number): number => traceStarts[to] - traceStarts[from];
  if (spansOf(group.firstTrace, group.endTrace) < splitSpansMin) return [group];
  const parts: SpanOrder["rowGroups"] = [];
  let endTrace = group.endTrace;
  for (const spans of newestSpans.toReversed()) {
    let firstTrace = endTrace;
    while (firstTrace > group.firstTrace && spansOf(firstTrace, endTrace) < spans) firstTrace--;
    // A long trace may fill the whole group.
    if (firstTrace === group.firstTrace) break;
    parts.unshift({ firstTrace, endTrace });
    endTrace = firstTrace;
  }
  return [{ firstTrace: group.firstTrace, endTrace }, ...parts];
}
