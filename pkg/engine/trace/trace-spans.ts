/**
 * All spans of some traces, as columns: what is joined where a trace lies in several shards, and
 * the details of such traces over the joined batch.
 */
import type { QueryPlan, TimeRange, TraceDetails, TraceDetailsRequest } from "#pkg/api/api.ts";
import {
  type BatchData,
  batchOfData,
  type ColumnBatch,
  findRepeats,
  gatherRows,
  joinBatches,
  RowSizes,
  traceColumnNames,
} from "#pkg/columns/columns.ts";
import { IdPlaces } from "./id-places.ts";
import { serviceColumnName, serviceRestColumns } from "./service.ts";
import { SpanTimes } from "./span-times.ts";
import { detailColumns, traceDetails } from "./traces.ts";

export interface TraceSpansRequest {
  /** 16 bytes per trace. */
  ids: Uint8Array;
  /** Names of columns; undefined: all that come with spans. */
  columns?: string[];
  /** Of the spans that overlap it; undefined: of all. */
  range?: TimeRange;
  /** Of the answer, about: traces that do not fit are left out. */
  bytesMax: number;
}

/** Spans of some traces as columns. */
export interface TraceSpans {
  batch: BatchData;
  /**
   * How many of the asked traces, from the first one on, are answered: all, unless the answer was
   * cut off.
   */
  answered: number;
}

/** Of no trace. */
export const noSpans: BatchData = { rows: 0, columns: [] };

/** What a shard has columns for. */
interface KnownColumns {
  names: () => readonly string[];
  hasService: boolean;
}

/** The columns of a request. */
export function spanColumns(
  { columns }: TraceSpansRequest,
  { names, hasService }: KnownColumns,
): readonly string[] {
  if (columns === undefined) return names().filter((name) => !traceColumnNames.includes(name));
  // The others of the trace's shards may have services in their column.
  const isService = columns.includes(serviceColumnName) && !hasService;
  return isService ? [...new Set([...columns, ...serviceRestColumns])] : columns;
}

/** The columns that details of traces in several shards need, if no span came twice. */
export function joinedColumns(plan: QueryPlan | undefined): string[] {
  return [...new Set([...detailColumns, ...(plan?.columns ?? [])])];
}

/** Spans of those of the asked traces that the batch has, trace by trace as they were asked. */
export function collectSpans(batch: ColumnBatch, request: TraceSpansRequest): TraceSpans {
  const count = request.ids.length / 16;
  if (batch.rows === 0) return { batch: noSpans, answered: count };
  const hasService = batch.column(serviceColumnName) !== undefined;
  // All names of a head's columns are known when all of these are made.
  const names = spanColumns(request, { names: () => batch.names, hasService });
  const rowsOf = rowsByPlace(batch, request);
  const sizes = new RowSizes(batch, names);
  const kept: number[] = [];
  let leftBytes = request.bytesMax;
  let answered = 0;
  for (; answered < count; answered++) {
    const rows = rowsOf.get(answered) ?? [];
    leftBytes -= sizes.add(rows);
    if (leftBytes < 0) break;
    for (const row of rows) kept.push(row);
  }
  return { batch: gatherRows(batch, kept, names), answered };
}

/** Rows of each asked trace, by its place among the ids. */
function rowsByPlace(batch: ColumnBatch, { ids, range }: TraceSpansRequest): Map<number, number[]> {
  const times = new SpanTimes(batch);
  const { codes, dictionary } = times.traces;
  const asked = new IdPlaces(ids);
  const { bytes, offsets } = dictionary;
  const places = Int32Array.from({ length: dictionary.length }, (_, code) =>
    asked.find(bytes, offsets[code]),
  );
  const rowsOf = new Map<number, number[]>();
  for (let row = 0; row < codes.length; row++) {
    const place = places[codes[row]];
    if (place < 0 || (range !== undefined && !times.overlaps(row, range))) continue;
    const rows = rowsOf.get(place);
    if (rows === undefined) rowsOf.set(place, [row]);
    else rows.push(row);
  }
  return rowsOf;
}

/** Traces that lie in several shards, and what is asked of them. */
export interface JoinedTraces {
  /** What each shard has of them. */
  parts: BatchData[];
  request: TraceDetailsRequest;
  /** Some spans may have come twice: the parts have all columns, and equal spans count once. */
  hasRepeats: boolean;
}

/** Details of the traces as if one shard had all of them. Throws as `evaluateFilter` does. */
export function detailsOfJoined({
  parts,
  request,
  hasRepeats,
}: JoinedTraces): Omit<TraceDetails, "fingerprints">[] {
  const some = parts.filter(({ rows }) => rows > 0);
  if (some.length === 0) return [];
  const batch = joinBatches(some.map(batchOfData));
  const details = traceDetails(batch, request, hasRepeats ? findRepeats(batch) : undefined);
  return details.map(({ fingerprints: _told, ...one }) => one);
}
