/**
 * Traces that lie in several shards: collects their spans as columns from each shard, and computes
 * their details over the joined columns.
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
import { TraceIdIndex } from "./id-places.ts";
import { serviceColumnName, serviceRestColumns } from "./service.ts";
import { SpanTimes } from "./span-times.ts";
import { detailColumns, traceDetails } from "./traces.ts";

export interface TraceSpansRequest {
  /** 16 bytes per trace. */
  ids: Uint8Array;
  /** Names of columns; undefined: all columns of spans. */
  columns?: string[];
  /** Only spans that overlap it; undefined: all spans. */
  range?: TimeRange;
  /** Approximate bytes of the answer; traces that do not fit are left out. */
  bytesMax: number;
}

/** Spans of some traces as columns. */
export interface TraceSpans {
  batch: BatchData;
  /**
   * Number of requested traces, from the first one, that the answer covers: all, unless it was cut
   * off at `bytesMax`.
   */
  answered: number;
}

/** The columns of no spans. */
export const noSpans: BatchData = { rows: 0, columns: [] };

/** The columns of a shard. */
interface KnownColumns {
  names: () => readonly string[];
  hasService: boolean;
}

/** Returns the columns to collect for a request. */
export function spanColumns(
  { columns }: TraceSpansRequest,
  { names, hasService }: KnownColumns,
): readonly string[] {
  if (columns === undefined) return names().filter((name) => !traceColumnNames.includes(name));
  // Other shards of the trace may have the services in a column, this one has them in the rest.
  const isService = columns.includes(serviceColumnName) && !hasService;
  return isService ? [...new Set([...columns, ...serviceRestColumns])] : columns;
}

/** Returns the columns that details of joined traces need if no span is a duplicate. */
export function joinedColumns(plan: QueryPlan | undefined): string[] {
  return [...new Set([...detailColumns, ...(plan?.columns ?? [])])];
}

/** Collects the spans of the requested traces from the batch, in the order of the request. */
export function collectSpans(batch: ColumnBatch, request: TraceSpansRequest): TraceSpans {
  const count = request.ids.length / 16;
  if (batch.rows === 0) return { batch: noSpans, answered: count };
  const hasService = batch.column(serviceColumnName) !== undefined;
  // `batch.names` of a head builds all its columns: it is read only if all are requested.
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

/** Returns the rows of each requested trace, by its index among the ids. */
function rowsByPlace(batch: ColumnBatch, { ids, range }: TraceSpansRequest): Map<number, number[]> {
  const times = new SpanTimes(batch);
  const { codes, dictionary } = times.traces;
  const asked = new TraceIdIndex(ids);
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

/** Traces that lie in several shards, and the request for their details. */
export interface JoinedTraces {
  /** Columns of the traces from each shard. */
  parts: BatchData[];
  request: TraceDetailsRequest;
  /** Spans may be duplicates: the parts have all columns, and equal spans count once. */
  hasRepeats: boolean;
}

/** Returns details as if one shard had all the spans. Throws as `evaluateFilter` does. */
export function detailsOfJoined({
  parts,
  request,
  hasRepeats,
}: JoinedTraces): Omit<TraceDetails, "fingerprints">[] {
  const some = parts.filter(({ rows }) => rows > 0);
  if (some.length === 0) return [];
  const batch = joinBatches(some.map(batchOfData));
  const details = traceDetails(batch, request, hasRepeats ? findRepeats(batch) : undefined);
  return details.map(({ fingerprints: _unused, ...one }) => one);
}
