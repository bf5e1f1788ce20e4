// HOT: runs per row of every search; measured by filter.bench.ts.
/**
 * Finds the traces of one ColumnBatch that have a matching span in a time range. pkg/api/query.ts
 * defines the answers.
 */
import type { ListTracesRequest, QueryPlan, TimeRange, TraceList } from "#pkg/api/api.ts";
import { Arena } from "#pkg/bytes/bytes.ts";
import { type ByteValues, type ColumnBatch, valueBytes, wordPairs } from "#pkg/columns/columns.ts";
import { evaluateFilter } from "#pkg/engine/condition/filter.ts";
import { compareNano, spanStarts, SpanTimes } from "./span-times.ts";
import type { StoredMatches } from "./stored-values.ts";
import { withTraceColumns } from "./trace-columns.ts";

/** Columns that `listTraces` reads in addition to those of the filter. */
export const listColumns: readonly string[] = ["trace_id", "start_unix_nano", "duration_nano"];
/** These columns if all rows are in the range. */
export const insideColumns: readonly string[] = ["trace_id", "start_unix_nano"];

export interface ListOptions {
  /** 1 for each row that satisfies the plan's prefilter, if it was evaluated already. */
  hits?: Uint8Array;
  /** Allocates masks; they are valid until its next `reset`. */
  arena?: Arena;
  /** Traces decided by stored values: only the others are evaluated. */
  stored?: StoredMatches;
  /** All rows are in the range: their durations are not needed. */
  isInside?: boolean;
}

/** Lists the traces of the batch with a matching span in the range, newest start first. */
export function listTraces(
  batch: ColumnBatch,
  request: ListTracesRequest,
  { hits, stored, isInside = false, arena = new Arena() }: ListOptions = {},
): TraceList {
  const spans = isInside ? spanStarts(batch) : new SpanTimes(batch);
  const { codes, dictionary } = spans.traces;
  const inRange = isInside ? undefined : rowsInRange(batch, request);
  const rows: RangeRows = { codes, traces: dictionary.length, inRange };
  const { matched, maybe } = matchTraces(batch, rows, request.plan, { hits, stored, arena });
  const first = stored?.starts ?? firstStarts(spans.start, rows, matched, maybe);
  const idOf = (code: number): Uint8Array => valueBytes(dictionary, code);
  const words = wordPairs(first);
  const order = (a: number, b: number): number =>
    compareWords(words, b, a) || Buffer.compare(idOf(a), idOf(b));
  const found = codesOf(matched);
  const kept = firstOf(found, request.limit, order);
  const pairs = (some: readonly number[]): { ids: Uint8Array; startNanos: BigInt64Array } => {
    return { ids: idsOf(dictionary, some), startNanos: startsOf(words, some) };
  };
  const truncated = kept.length < found.length;
  const list = { ...pairs(kept), truncated, inspectedSpans: batch.rows };
  if (maybe === undefined) return list;
  const others = codesOf(maybe);
  const last = truncated ? kept.at(-1) : undefined;
  return {
    ...list,
    maybes: pairs(last === undefined ? others : others.filter((code) => order(code, last) < 0)),
  };
}

/** Returns the ids of the codes, 16 bytes each. */
function idsOf({ bytes, offsets }: ByteValues, codes: readonly number[]): Uint8Array {
  const ids = new Uint8Array(codes.length * 16);
  for (let i = 0; i < codes.length; i++) {
    const from = offsets[codes[i]];
    for (let at = 0; at < 16; at++) ids[i * 16 + at] = bytes[from + at];
  }
  return ids;
}

function startsOf(words: Int32Array, codes: readonly number[]): BigInt64Array {
  const out = new Int32Array(codes.length * 2);
  for (let i = 0; i < codes.length; i++) {
    out[i * 2] = words[codes[i] * 2];
    out[i * 2 + 1] = words[codes[i] * 2 + 1];
  }
  return new BigInt64Array(out.buffer);
}

/**
 * Returns the first `limit` codes in an order, sorted. Starts with the last codes: they usually are
 * the newest traces, so most other codes are skipped after one comparison.
 */
function firstOf(
  codes: readonly number[],
  limit: number,
  order: (a: number, b: number) => number,
): number[] {
  const kept: number[] = [];
  let last: number | undefined;
  for (let i = codes.length - 1; i >= 0; i--) {
    if (last !== undefined && order(codes[i], last) > 0) continue;
    kept.push(codes[i]);
    if (kept.length < 2 * limit + 100) continue;
    kept.sort(order).length = limit;
    last = kept.at(-1);
  }
  return kept.sort(order).slice(0, limit);
}

/** Merges lists of different traces into one of at most `limit` traces. */
export function mergeLists(lists: readonly TraceList[], limit: number): TraceList {
  if (lists.length === 1) return lists[0];
  const found = sortedPairs(lists);
  const kept = found.slice(0, limit);
  const truncated = kept.length < found.length || lists.some((list) => list.truncated);
  const sum = (of: (list: TraceList) => number): number =>
    lists.reduce((total, list) => total + of(list), 0);
  const merged: TraceList = {
    ...joinPairs(kept),
    truncated,
    inspectedSpans: sum(({ inspectedSpans }) => inspectedSpans),
  };
  const maybes = sortedPairs(lists.flatMap((list) => list.maybes ?? []));
  if (lists.every((list) => list.maybes === undefined)) return merged;
  const last = truncated ? kept.at(-1) : undefined;
  const before = last === undefined ? maybes : maybes.filter((one) => comparePairs(one, last) < 0);
  return { ...merged, maybes: joinPairs(before) };
}

interface Pair {
  id: Uint8Array;
  startNano: bigint;
}

function comparePairs(a: Pair, b: Pair): number {
  return compareNano(b.startNano, a.startNano) || Buffer.compare(a.id, b.id);
}

function sortedPairs(lists: readonly Pick<TraceList, "ids" | "startNanos">[]): Pair[] {
  const pairs = lists.flatMap(({ ids, startNanos }) =>
    Array.from(startNanos, (startNano, i) => ({
      id: ids.subarray(i * 16, i * 16 + 16),
      startNano,
    })),
  );
  return pairs.sort(comparePairs);
}

function joinPairs(pairs: readonly Pair[]): Pick<TraceList, "ids" | "startNanos"> {
  const ids = new Uint8Array(pairs.length * 16);
  pairs.forEach(({ id }, i) => ids.set(id, i * 16));
  return { ids, startNanos: BigInt64Array.from(pairs, ({ startNano }) => startNano) };
}

/** Returns the codes whose mark is 1. */
function codesOf(marks: Uint8Array): number[] {
  const out: number[] = [];
  for (let code = 0; code < marks.length; code++) if (marks[code] === 1) out.push(code);
  return out;
}

interface RangeRows {
  /** The trace of each row, and how many traces the dictionary has. */
  codes: Int32Array;
  traces: number;
  /** 1 for each row in the range; undefined: all are. */
  inRange: Uint8Array | undefined;
}

/** Marks with 1 each row that overlaps the range. */
export function rowsInRange(batch: ColumnBatch, request: TimeRange): Uint8Array {
  const spans = new SpanTimes(batch);
  const words = wordPairs(spans.start);
  const [from, to] = [splitNano(request.startNano), splitNano(request.endNano)];
  const inRange = new Uint8Array(batch.rows);
  for (let row = 0; row < batch.rows; row++) {
    const high = words[row * 2 + 1];
    const low = words[row * 2] >>> 0;
    if (high > to.high || (high === to.high && low >= to.low)) continue;
    // The end matters only for spans that start before the range.
    const startsIn = high > from.high || (high === from.high && low >= from.low);
    if (startsIn || spans.overlaps(row, request)) inRange[row] = 1;
  }
  return inRange;
}

/** Returns the earliest start in the range of each marked trace, by code. */
function firstStarts(
  start: BigInt64Array,
  { codes, traces, inRange }: RangeRows,
  matched: Uint8Array,
  maybe: Uint8Array | undefined,
): BigInt64Array {
  const words = wordPairs(start);
  const firstRow = new Int32Array(traces).fill(-1);
  for (let row = 0; row < codes.length; row++) {
    const code = codes[row];
    if (matched[code] === 0 && (maybe === undefined || maybe[code] === 0)) continue;
    if (inRange !== undefined && inRange[row] === 0) continue;
    const known = firstRow[code];
    if (known < 0 || compareWords(words, row, known) < 0) firstRow[code] = row;
  }
  const first = new Int32Array(traces * 2);
  for (let code = 0; code < traces; code++) {
    const row = firstRow[code];
    if (row < 0) continue;
    first[code * 2] = words[row * 2];
    first[code * 2 + 1] = words[row * 2 + 1];
  }
  return new BigInt64Array(first.buffer);
}

/** Compares integers number `a` and `b` of an array of word pairs. */
function compareWords(words: Int32Array, a: number, b: number): number {
  return words[a * 2 + 1] - words[b * 2 + 1] || (words[a * 2] >>> 0) - (words[b * 2] >>> 0);
}

/** Splits a time into words. The high word may exceed 32 bits: the time may exceed 64 bits. */
function splitNano(nano: bigint): { high: number; low: number } {
  return { high: Number(nano >> 32n), low: Number(nano & 0xffff_ffffn) };
}

/** Marks traces by code: those that match, and the `TraceList.maybes`. */
function matchTraces(
  batch: ColumnBatch,
  { codes, traces, inRange }: RangeRows,
  plan: QueryPlan | undefined,
  known: Pick<ListOptions, "hits" | "stored"> & { arena: Arena },
): { matched: Uint8Array; maybe?: Uint8Array } {
  if (plan === undefined) return { matched: tracesOf(inRange ?? allOf(batch), codes, traces) };
  const hits = prefiltered(batch, plan, { inRange, known: known.hits, arena: known.arena });
  const candidates = tracesOf(hits, codes, traces);
  if (plan.traceNames.length === 0) return { matched: candidates };
  const { stored, arena } = known;
  const matched = stored?.matched ?? new Uint8Array(traces);
  const open = stored === undefined ? candidates : bothOf(candidates, stored.unsure);
  if (stored === undefined || open.includes(1)) {
    const chosen = inRange?.slice() ?? allOf(batch);
    for (let row = 0; row < batch.rows; row++) chosen[row] &= open[codes[row]];
    const whole = withTraceColumns(batch, plan.traceNames, chosen);
    const found = evaluateFilter(whole.batch, plan.filter, bothOf(hits, chosen), arena);
    for (let row = 0; row < found.length; row++) matched[codes[row]] |= found[row];
    // A duplicate span may have distorted the tree: the request for details will decide.
    for (let code = 0; code < traces; code++) {
      if (whole.doubtful?.[code] === 1 && open[code] === 1) matched[code] = 1;
    }
  }
  const maybe = new Uint8Array(traces);
  for (let code = 0; code < traces; code++) maybe[code] = candidates[code] & ~matched[code];
  return { matched, maybe };
}

interface PrefilterOptions {
  /** 1 for each row in the range; undefined: all are. */
  inRange: Uint8Array | undefined;
  /** The result without regard to the range, if the prefilter was evaluated already. */
  known: Uint8Array | undefined;
  arena: Arena;
}

/** Marks the rows in the range that satisfy the prefilter. */
export function prefiltered(
  batch: ColumnBatch,
  { prefilter }: QueryPlan,
  { inRange, known, arena }: PrefilterOptions,
): Uint8Array {
  if (known !== undefined) return inRange === undefined ? known : bothOf(known, inRange);
  const rows = inRange ?? arena.uint8(batch.rows).fill(1);
  return prefilter === undefined ? rows : evaluateFilter(batch, prefilter, rows, arena);
}

function allOf({ rows }: ColumnBatch): Uint8Array {
  return new Uint8Array(rows).fill(1);
}

function bothOf(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = a.slice();
  for (let row = 0; row < out.length; row++) out[row] &= b[row];
  return out;
}

function tracesOf(hits: Uint8Array, codes: Int32Array, traces: number): Uint8Array {
  const out = new Uint8Array(traces);
  for (let row = 0; row < hits.length; row++) if (hits[row] === 1) out[codes[row]] = 1;
  return out;
}
