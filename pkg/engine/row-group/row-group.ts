/**
 * Questions about the traces of one row group of a block. Only the columns that a question needs
 * are read, and none if the tag index shows that no span can match.
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
 * Traces with a matching span in the range; see `listTraces`. Nothing of the answer is in the
 * arena.
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
  const hits = await hitsOf(columns, prefilter);
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
  /** Of the range: rows that satisfy the prefilter. */
  hits: Uint8Array;
  /** Columns that a list takes. */
  own: readonly string[];
  /** Columns that the block has. */
  known: readonly string[];
  plan: QueryPlan;
}

/**
 * Lists by values of whole traces: by those that are stored, and where these do not tell, by those
 * that the spans come to.
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
  const told = storedMatches(batch, plan, { hits: some, inRange, arena });
  const options = { hits, isInside, stored: told, arena };
  if (!told.isUnsure) return listTraces(batch, request, options);
  return listTraces(await columns.readRows(all, range), request, options);
}

/** How many spans of a row group satisfy a condition, whatever their time. */
export async function countRowGroup(
  reader: BlockReader,
  rowGroup: number,
  filter: FieldExpr,
  arena?: Arena,
): Promise<number> {
  const tags = await tagsFor(reader.index, rowGroup, filter);
  if (!mayMatch(tags, filter)) return 0;
  const hits = await hitsOf(new RowGroupColumns(reader, rowGroup, tags, arena), filter);
  return countRows(hits);
}

/**
 * Rows that satisfy a condition, asked in steps: the columns of what leaves few rows for few bytes
 * are read first, and when no row is left nothing more is read.
 */
async function hitsOf(columns: RowGroupColumns, condition: FieldExpr): Promise<Uint8Array> {
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

/** Conditions that leave more than this share of the rows do not keep the next columns unread. */
const selectiveShare = 0.2;
/** Columns of fewer bytes than this are read together: a request costs more. 64 KiB. */
const stepBytesMin = 64 * 1024;

/** What is read one after the other for a condition that cannot fail. */
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

/** Of a row group of which no span matches. */
export const noTraces: TraceList = {
  ids: new Uint8Array(0),
  startNanos: new BigInt64Array(0),
  truncated: false,
  inspectedSpans: 0,
};

/**
 * Whether a row group can hold a span that matches, from those entries of its tag index that the
 * filter names. Throws what reading them throws.
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

/** Details of the asked traces; see `traceDetails`. */
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

/** Which of some traces (16 bytes each) a row group has, from their ids alone. */
export async function heldInRowGroup(
  reader: BlockReader,
  rowGroup: number,
  ids: Uint8Array,
  arena?: Arena,
): Promise<HeldTraces> {
  const columns = new RowGroupColumns(reader, rowGroup, noTags, arena);
  return { marks: heldTraces(await columns.read(["trace_id"]), ids) };
}

/** Spans of the asked traces as columns. */
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

/** A plan that nothing satisfies, in the place of one that no row of this group does. */
function neverOf({ filter: { range } }: QueryPlan): QueryPlan {
  return planQuery({ kind: "static", static: { type: "bool", value: false }, range });
}

/** All spans of a trace, in pieces; an answer of more than `bytesMax` may lack some. */
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
