/**
 * Answers questions about the traces of one row group of a block. Only the columns that a question
 * needs are read. A list reads no column if the tag index shows that no span can match.
 */
import type {
  DetailsAnswer,
  FindTraceRequest,
  HeldTraces,
  ListTracesRequest,
  QueryPlan,
  TraceDetails,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/api.ts";
import type { Arena } from "#pkg/bytes/bytes.ts";
import type { BlockIndex, BlockReader, TagIndex } from "#pkg/block/block.ts";
import type { RowRange } from "#pkg/parquet/parquet.ts";
import { type ColumnBatch, joinBatches, traceColumnNames } from "#pkg/columns/columns.ts";
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import { estimateShare } from "./estimate.ts";
import { evaluateFilter } from "#pkg/engine/condition/filter.ts";
import {
  insideColumns,
  listColumns,
  listTraces,
  mergeLists,
  prefiltered,
  rowsInRange,
} from "#pkg/engine/trace/list-traces.ts";
import { mayMatch, pruneKeys } from "#pkg/engine/condition/prune.ts";
import { planQuery } from "#pkg/engine/condition/plan.ts";
import { countRows } from "#pkg/engine/condition/passes.ts";
import { clustersOf } from "./row-clusters.ts";
import { RowGroupColumns, withoutIds } from "./row-group-columns.ts";
import { serviceColumnName, serviceRestColumns } from "#pkg/engine/trace/service.ts";
import { conjunctsOf } from "#pkg/engine/condition/span-part.ts";
import { storedColumns, storedMatches } from "#pkg/engine/trace/stored-values.ts";
import {
  collectSpans,
  noSpans,
  spanColumns,
  type TraceSpans,
  type TraceSpansRequest,
} from "#pkg/engine/trace/trace-spans.ts";
import {
  detailColumns,
  findTrace,
  heldTraces,
  traceDetails,
  wantedCodes,
} from "#pkg/engine/trace/traces.ts";

/**
 * Lists the traces with a matching span in the range, as `listTraces` does. The answer does not use
 * the arena's memory.
 */
export async function listRowGroup(
  reader: BlockReader,
  rowGroup: number,
  request: ListTracesRequest,
  arena?: Arena,
): Promise<TraceList> {
  const filter = request.plan?.filter;
  const tags = await tagsFor(reader.index, rowGroup, filter);
  if (filter !== undefined && !mayMatch(tags, filter)) return noTraces;
  const columns = new RowGroupColumns(reader, rowGroup, tags, arena);
  return await listColumnsOf(columns, request, reader.columnNames);
}

async function listColumnsOf(
  columns: RowGroupColumns,
  request: ListTracesRequest,
  known: readonly string[],
): Promise<TraceList> {
  const { plan } = request;
  const isInside = columns.isInside(request);
  const own = isInside ? insideColumns : listColumns;
  if (plan === undefined) return listTraces(await columns.read(own), request, { isInside });
  const isWhole = plan.traceNames.length > 0;
  const { prefilter } = plan;
  if (plan.canFail || (prefilter === undefined && !isWhole)) {
    const all = [...own, ...columns.namesFor(plan.filter)];
    return listTraces(await columns.read(all), request, { isInside });
  }
  if (prefilter === undefined) {
    const hits = columns.arena.uint8(columns.rows).fill(1);
    const range = { from: 0, to: columns.rows };
    return await listWhole(columns, request, { range, isInside, hits, own, known, plan });
  }
  const hits = await matchingRows(columns, prefilter);
  if (!hits.includes(1)) return { ...noTraces, inspectedSpans: columns.rows };
  const traces = await columns.traces();
  const wanted = new Uint8Array(traces.dictionary.length);
  for (let row = 0; row < hits.length; row++) wanted[traces.codes[row]] |= hits[row];
  const lists: TraceList[] = [];
  for (const range of clustersOf(traces, wanted)) {
    const some = { range, isInside, hits: hits.subarray(range.from, range.to) };
    lists.push(
      isWhole
        ? await listWhole(columns, request, { ...some, own, known, plan })
        : listTraces(await columns.readRows(own, range), request, some),
    );
  }
  return { ...mergeLists(lists, request.limit), inspectedSpans: columns.rows };
}

interface SomeRows {
  range: RowRange;
  isInside: boolean;
  /** 1 for each row of `range` that satisfies the prefilter. */
  hits: Uint8Array;
  /** Columns that a list needs without a filter. */
  own: readonly string[];
  /** Columns that the block has. */
  known: readonly string[];
  plan: QueryPlan;
}

/**
 * Lists traces by values of whole traces. Uses the stored values where they are valid; otherwise
 * computes the values from the spans.
 */
async function listWhole(
  columns: RowGroupColumns,
  request: ListTracesRequest,
  { range, isInside, hits, own, known, plan }: SomeRows,
): Promise<TraceList> {
  const all = [...own, ...columns.namesFor(plan.filter)];
  const stored = request.hasWholeTraces === true && storedColumns(plan.traceNames, known);
  if (stored === false || stored === undefined) {
    return listTraces(await columns.readRows(all, range), request, { hits, isInside });
  }
  const names = [...own, ...stored, ...columns.namesFor(plan.filter, "spans")];
  const batch = await columns.readRows(names, range);
  const inRange = isInside ? undefined : rowsInRange(batch, request);
  const { arena } = columns;
  const some = prefiltered(batch, plan, { inRange, known: hits, arena });
  const matches = storedMatches(batch, plan, { hits: some, inRange, arena });
  const options = { hits, isInside, stored: matches, arena };
  if (!matches.isUnsure) return listTraces(batch, request, options);
  return listTraces(await columns.readRows(all, range), request, options);
}

/** Returns the number of spans of a row group that match a condition, at any time. */
export async function countRowGroup(
  reader: BlockReader,
  rowGroup: number,
  filter: FieldExpr,
  arena?: Arena,
): Promise<number> {
  const tags = await tagsFor(reader.index, rowGroup, filter);
  if (!mayMatch(tags, filter)) return 0;
  const hits = await matchingRows(new RowGroupColumns(reader, rowGroup, tags, arena), filter);
  return countRows(hits);
}

/**
 * Returns the rows that match a condition, evaluated in steps. Cheap and selective parts of the
 * condition come first. Reading stops when no row is left.
 */
export async function matchingRows(
  columns: RowGroupColumns,
  condition: FieldExpr,
): Promise<Uint8Array> {
  const { arena } = columns;
  let hits = arena.uint8(columns.rows).fill(1);
  for (const step of readSteps(columns, condition)) {
    const batch = await columns.read(step.columns);
    for (const one of step.conditions) hits = evaluateFilter(batch, one, hits, arena);
    if (!hits.includes(1)) return hits;
  }
  return hits;
}

interface ReadStep {
  conditions: FieldExpr[];
  columns: string[];
}

/** A new step starts only if the conditions before leave less than this share of the rows. */
const selectiveShare = 0.2;
/** Columns of fewer bytes are read together, because a request costs more than the bytes. */
const stepBytesMin = 64 * 1024;

/** Splits a condition that cannot fail into steps that are read one after the other. */
export function readSteps(columns: RowGroupColumns, condition: FieldExpr): ReadStep[] {
  const conjuncts = conjunctsOf(condition).map((one) => {
    const names = columns.namesFor(one);
    const sizeBytes = columns.sizeOf(names);
    return { one, names, sizeBytes, share: estimateShare(columns.tags, one, columns.rows) };
  });
  const rank = ({ sizeBytes, share }: (typeof conjuncts)[number]): number =>
    (sizeBytes + 1) / Math.max(1 - share, 0.001);
  const steps: ReadStep[] = [];
  let step: ReadStep = { conditions: [], columns: [] };
  let share = 1;
  for (const conjunct of conjuncts.sort((a, b) => rank(a) - rank(b))) {
    const isWorth = columns.sizeOf([...step.columns, ...conjunct.names]) > stepBytesMin;
    if (step.conditions.length > 0 && isWorth && share < selectiveShare) {
      steps.push(step);
      step = { conditions: [], columns: [] };
    }
    step.conditions.push(conjunct.one);
    for (const name of conjunct.names) step.columns.push(name);
    share *= conjunct.share;
  }
  return [...steps, step];
}

/** The list of a row group without a matching span. */
export const noTraces: TraceList = {
  ids: new Uint8Array(0),
  startNanos: new BigInt64Array(0),
  truncated: false,
  inspectedSpans: 0,
};

/**
 * Returns whether a row group can hold a span that matches, from the tag index entries that the
 * filter names. Throws errors of reading these entries.
 */
export async function mayHoldMatch(
  index: BlockIndex,
  rowGroup: number,
  filter: FieldExpr,
): Promise<boolean> {
  return mayMatch(await tagsFor(index, rowGroup, filter), filter);
}

async function tagsFor(
  index: BlockIndex,
  rowGroup: number,
  filter: FieldExpr | undefined,
): Promise<TagIndex> {
  if (filter === undefined) return noTags;
  return await index.tags(rowGroup, pruneKeys(filter));
}

const noTags: TagIndex = { entries: [], truncated: true, covers: [] };

/** Returns details of the requested traces, as `traceDetails` does. */
export async function detailsOfRowGroup(
  reader: BlockReader,
  rowGroup: number,
  request: TraceDetailsRequest,
  arena?: Arena,
): Promise<DetailsAnswer> {
  const tags = await tagsFor(reader.index, rowGroup, request.plan?.filter);
  const columns = new RowGroupColumns(reader, rowGroup, tags, arena);
  return { traces: await detailsOf(columns, reader, request) };
}

async function detailsOf(
  columns: RowGroupColumns,
  reader: BlockReader,
  request: TraceDetailsRequest,
): Promise<TraceDetails[]> {
  const traces = await columns.traces();
  const wanted = wantedCodes(traces.dictionary, request.ids);
  if (!wanted.includes(1)) return [];
  const { plan } = request;
  const filter = plan?.filter;
  const isOut = filter !== undefined && !mayMatch(columns.tags, filter);
  const names = [
    ...detailColumns,
    ...(reader.columnNames.includes(serviceColumnName) ? [] : serviceRestColumns),
    ...(filter !== undefined && !isOut ? columns.namesFor(filter) : []),
  ];
  const asked = plan !== undefined && isOut ? { ...request, plan: neverOf(plan) } : request;
  const details: TraceDetails[] = [];
  for (const range of clustersOf(traces, wanted)) {
    for (const one of traceDetails(await columns.readRows(names, range), asked)) details.push(one);
  }
  return details;
}

/** Marks which of some traces (16 bytes each) a row group has. Reads only trace ids. */
export async function heldInRowGroup(
  reader: BlockReader,
  rowGroup: number,
  ids: Uint8Array,
  arena?: Arena,
): Promise<HeldTraces> {
  const columns = new RowGroupColumns(reader, rowGroup, noTags, arena);
  return { marks: heldTraces(await columns.read(["trace_id"]), ids) };
}

/** Returns the spans of the requested traces as columns. */
export async function spansOfRowGroup(
  reader: BlockReader,
  rowGroup: number,
  request: TraceSpansRequest,
  arena?: Arena,
): Promise<TraceSpans> {
  const columns = new RowGroupColumns(reader, rowGroup, noTags, arena);
  const traces = await columns.traces();
  const wanted = wantedCodes(traces.dictionary, request.ids);
  if (!wanted.includes(1)) return { batch: noSpans, answered: request.ids.length / 16 };
  const { columnNames } = reader;
  const hasService = columnNames.includes(serviceColumnName);
  const wide = spanColumns(request, { names: () => columnNames, hasService });
  const names = [...listColumns, ...wide];
  const batches: ColumnBatch[] = [];
  for (const range of clustersOf(traces, wanted))
    batches.push(await columns.readRows(names, range));
  return collectSpans(joinBatches(batches), request);
}

/** Returns a plan that matches nothing; it replaces a plan that matches no row of this group. */
function neverOf({ filter: { range } }: QueryPlan): QueryPlan {
  return planQuery({ kind: "static", static: { type: "bool", value: false }, range });
}

/** Returns all spans of a trace in pieces. Stops after `bytesMax`, so spans may then be missing. */
export async function findInRowGroup(
  reader: BlockReader,
  rowGroup: number,
  { traceId, bytesMax = Number.POSITIVE_INFINITY }: FindTraceRequest,
): Promise<Uint8Array[]> {
  const ofTrees: ReadonlySet<string> = new Set(traceColumnNames);
  const names = withoutIds(reader.columnNames).filter((name) => !ofTrees.has(name));
  const pieces: Uint8Array[] = [];
  let leftBytes = bytesMax;
  const columns = new RowGroupColumns(reader, rowGroup, noTags);
  const traces = await columns.traces();
  for (const range of clustersOf(traces, wantedCodes(traces.dictionary, traceId))) {
    const found = findTrace(await columns.readRows(names, range), traceId, leftBytes);
    for (const piece of found) {
      pieces.push(piece);
      leftBytes -= piece.length;
    }
    if (leftBytes < 0) break;
  }
  return pieces;
}
