// HOT: runs per row of every search of live spans; measured by filter.bench.ts.
/**
 * Lists the newest traces of a head without evaluating the condition on all of its spans.
 *
 * Rows of a head are in order of arrival. One pass finds the start of each trace. Then only the
 * spans of the newest traces become columns, and the condition is evaluated on them. If too few of
 * these traces match, more traces are taken. If none matches, all are.
 *
 *     starts of traces:   t7  t2  t9 | t4  t1 ...      newest first; | is the threshold
 *     evaluated:          all spans of t7, t2, t9
 *
 * Traces below the threshold start before all traces above it, so matches above it are final.
 */
import type { ListTracesRequest, TimeRange, TraceList } from "#pkg/api/api.ts";
import { HeadBatch, type HeadData } from "#pkg/columns/columns.ts";
import { type ListOptions, listTraces } from "./list-traces.ts";
import { nthLargest } from "./nth-largest.ts";

/** A head with fewer spans is evaluated as a whole. */
const spansMin = 8192;
/** Traces of the first round: per wanted trace, and at least. */
const tracesPerWanted = 4;
const tracesMin = 128;
/** The next round has this many times the traces that the matches of the last one ask for. */
const tracesMargin = 2;

/** Lists as `listTraces` of all spans does; the list may end after `request.enough` traces. */
export function listHead(
  all: HeadBatch,
  request: ListTracesRequest,
  options: Pick<ListOptions, "isInside">,
): TraceList {
  const { enough, plan } = request;
  const { data } = all;
  const isWhole = all.rows === data.rows;
  // A condition that can fail is evaluated for all spans: an error must not depend on the limit.
  const canFail = plan?.canFail === true;
  if (enough === undefined || !isWhole || canFail || data.rows < spansMin) {
    return listTraces(all, request, options);
  }
  const starts = traceStarts(data, options.isInside === true ? undefined : request);
  let traces = Math.max(tracesMin, enough * tracesPerWanted);
  while (traces < starts.length / 2) {
    const threshold = nthLargest(starts, traces);
    if (threshold === Number.NEGATIVE_INFINITY) break;
    const newest = new HeadBatch(data, rowsFrom(data, starts, threshold));
    const list = listTraces(newest, request, options);
    const found = list.startNanos.length;
    if (found >= enough) return endingEarly(list);
    // A rare condition: another round would most likely end in vain.
    if (found === 0) break;
    traces = Math.ceil((traces * enough * tracesMargin) / found);
  }
  return listTraces(all, request, options);
}

/**
 * Returns the earliest start in the range of each trace, by code. Starts are rounded to doubles,
 * which never reverses their order. Traces without a span in the range have negative infinity.
 */
function traceStarts({ rows, perRow, traceIds }: HeadData, range?: TimeRange): Float64Array {
  const { trace, start } = perRow;
  const starts = new Float64Array(traceIds.length >>> 2).fill(Number.POSITIVE_INFINITY);
  const bounds = range === undefined ? undefined : wordsOf(range);
  for (let row = 0; row < rows; row++) {
    if (bounds !== undefined && !isInRange(perRow, row, bounds)) continue;
    const at = (start[row * 2 + 1] | 0) * 0x1_0000_0000 + start[row * 2];
    if (at < starts[trace[row]]) starts[trace[row]] = at;
  }
  for (let code = 0; code < starts.length; code++) {
    if (starts[code] === Number.POSITIVE_INFINITY) starts[code] = Number.NEGATIVE_INFINITY;
  }
  return starts;
}

interface Bounds {
  fromHigh: number;
  fromLow: number;
  toHigh: number;
  toLow: number;
}

/** Splits the bounds into words. High words may exceed 32 bits: times may exceed 64 bits. */
function wordsOf({ startNano, endNano }: TimeRange): Bounds {
  return {
    fromHigh: Number(startNano >> 32n),
    fromLow: Number(startNano & 0xffff_ffffn),
    toHigh: Number(endNano >> 32n),
    toLow: Number(endNano & 0xffff_ffffn),
  };
}

/** Returns whether the span overlaps the range. An end before the start counts as the start. */
function isInRange(
  { start, end }: HeadData["perRow"],
  row: number,
  { fromHigh, fromLow, toHigh, toLow }: Bounds,
): boolean {
  const low = start[row * 2];
  const high = start[row * 2 + 1] | 0;
  if (high > toHigh || (high === toHigh && low >= toLow)) return false;
  if (high > fromHigh || (high === fromHigh && low >= fromLow)) return true;
  const endLow = end[row * 2];
  const endHigh = end[row * 2 + 1] | 0;
  return endHigh > fromHigh || (endHigh === fromHigh && endLow >= fromLow);
}

/** Returns the rows of traces that start at the threshold or later. */
function rowsFrom(
  { rows, perRow }: HeadData,
  starts: Float64Array,
  threshold: number,
): Uint32Array {
  const { trace } = perRow;
  let count = 0;
  for (let row = 0; row < rows; row++) if (starts[trace[row]] >= threshold) count++;
  const chosen = new Uint32Array(count);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    if (starts[trace[row]] >= threshold) chosen[at++] = row;
  }
  return chosen;
}

/** Marks the list as truncated and drops maybes after the last match: they are not final. */
function endingEarly(list: TraceList): TraceList {
  if (list.truncated) return list;
  const { maybes } = list;
  if (maybes === undefined) return { ...list, truncated: true };
  const last = list.startNanos.at(-1)!;
  const lastId = list.ids.subarray(-16);
  const idOf = (at: number): Uint8Array => maybes.ids.subarray(at * 16, at * 16 + 16);
  const kept = Array.from(maybes.startNanos.keys()).filter((at) => {
    const start = maybes.startNanos[at];
    return start > last || (start === last && Buffer.compare(idOf(at), lastId) < 0);
  });
  const ids = new Uint8Array(kept.length * 16);
  kept.forEach((at, i) => ids.set(idOf(at), i * 16));
  const startNanos = BigInt64Array.from(kept, (at) => maybes.startNanos[at]);
  return { ...list, truncated: true, maybes: { ids, startNanos } };
}
