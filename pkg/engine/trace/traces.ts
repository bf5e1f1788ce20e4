/**
 * Answers questions about some traces of one ColumnBatch: their details, and all spans of one
 * trace. pkg/api/query.ts defines the answers.
 */
import type { RootSummary, SpanSummary, TraceDetails, TraceDetailsRequest } from "#pkg/api/api.ts";
import {
  type ByteValues,
  type ColumnBatch,
  columnOf,
  type DictColumn,
  type Int64Column,
  readSpans,
  RootOrder,
  valueBytes,
  valueText,
} from "#pkg/columns/columns.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { traceDataChunks } from "#pkg/otlp/otlp.ts";
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import { evaluateFilter, intrinsicNames } from "#pkg/engine/condition/filter.ts";
import { Fingerprints } from "./fingerprints.ts";
import { TraceIdIndex } from "./id-places.ts";
import { listColumns } from "./list-traces.ts";
import { serviceColumn, serviceColumnName } from "./service.ts";
import { SpanAttributes } from "./span-attributes.ts";
import { compareNano, SpanTimes } from "./span-times.ts";
import { withTraceColumns } from "./trace-columns.ts";

/**
 * Columns that `traceDetails` reads in addition to those of the filter. If the column of services
 * is missing, it reads `serviceRestColumns` too.
 */
export const detailColumns: readonly string[] = [
  ...listColumns,
  "span_id",
  "parent_span_id",
  "name",
  "status",
  serviceColumnName,
];

/**
 * Returns details of the requested traces that have a span in the range, matching or not.
 *
 * @param keep 1 for each row that counts; undefined: all rows count.
 */
export function traceDetails(
  batch: ColumnBatch,
  request: TraceDetailsRequest,
  keep?: Uint8Array,
): TraceDetails[] {
  const spans = new SpanTimes(batch);
  const rowsOf = rowsByTrace(spans, request, keep);
  const { plan } = request;
  const match = plan && matchRows(batch, plan.filter, maskOf(batch.rows, rowsOf.values()));
  const readers = {
    times: spans,
    details: new DetailReader(batch, spans, match?.attributes),
    fingerprints: new Fingerprints(batch),
    hits: match?.hits,
  };
  return [...rowsOf].map(([code, rows]) => {
    const traceId = Buffer.from(valueBytes(spans.traces.dictionary, code)).toString("hex");
    return detailsOf(readers, { traceId, rows }, request.spansPerTrace);
  });
}

/**
 * Returns the selected rows that match, and their attributes. The selection must hold all spans of
 * its traces that count. Throws as `evaluateFilter` does.
 */
export function matchRows(
  batch: ColumnBatch,
  filter: FieldExpr,
  selection: Uint8Array,
): { hits: Uint8Array; attributes: SpanAttributes } {
  const whole = withTraceColumns(batch, intrinsicNames(filter), selection).batch;
  return {
    hits: evaluateFilter(whole, filter, selection),
    attributes: new SpanAttributes(whole, filter),
  };
}

/** Spans per piece: so many are held as objects at a time. */
const spansPerPiece = 500;

/**
 * Returns all spans of a trace (16 bytes) as pieces of protobuf TracesData; none if the batch has
 * no span of the trace. Each piece has its own buffer, which can be transferred to another thread.
 * Stops once the pieces exceed `bytesMax`: spans may then be missing.
 */
export function findTrace(
  batch: ColumnBatch,
  traceId: Uint8Array,
  bytesMax: number = Number.POSITIVE_INFINITY,
): Uint8Array[] {
  const rows = traceRows(batch, traceId);
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for (let from = 0; from < rows.length && sizeBytes <= bytesMax; from += spansPerPiece) {
    const data = readSpans(batch, rows.slice(from, from + spansPerPiece));
    const piece = joinedBytes(traceDataChunks(data));
    pieces.push(piece);
    sizeBytes += piece.length;
  }
  return pieces;
}

function joinedBytes(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** Marks with 1 each of these traces (16 bytes each) that the batch has. Reads only trace ids. */
export function heldTraces(batch: ColumnBatch, ids: Uint8Array): Uint8Array {
  const marks = new Uint8Array(ids.length / 16);
  const traces = columnOf(batch, "trace_id", "dict");
  if (traces === undefined) return marks;
  const { codes, dictionary } = traces;
  const isUsed = new Uint8Array(dictionary.length);
  for (const code of codes) if (code >= 0) isUsed[code] = 1;
  const places = new TraceIdIndex(ids);
  const { bytes, offsets } = dictionary;
  for (let code = 0; code < dictionary.length; code++) {
    if (isUsed[code] === 0 || offsets[code + 1] - offsets[code] !== 16) continue;
    for (let at = places.find(bytes, offsets[code]); at >= 0; at = places.next(at)) marks[at] = 1;
  }
  return marks;
}

/** Returns the rows of a trace, ascending. */
export function traceRows(batch: ColumnBatch, traceId: Uint8Array): number[] {
  const traces = columnOf(batch, "trace_id", "dict");
  const rows: number[] = [];
  if (traces === undefined) return rows;
  const { codes, dictionary } = traces;
  const wanted = wantedCodes(dictionary, traceId);
  for (let row = 0; row < batch.rows; row++) if (wanted[codes[row]] === 1) rows.push(row);
  return rows;
}

/** Marks with 1 each dictionary entry that is one of these ids (16 bytes each). */
export function wantedCodes(dictionary: ByteValues, ids: Uint8Array): Uint8Array {
  const places = new TraceIdIndex(ids);
  const { bytes, offsets } = dictionary;
  const wanted = new Uint8Array(dictionary.length);
  for (let code = 0; code < dictionary.length; code++) {
    const isId = offsets[code + 1] - offsets[code] === 16;
    if (isId && places.find(bytes, offsets[code]) >= 0) wanted[code] = 1;
  }
  return wanted;
}

/** Compares two spans of a trace in the order of answers. */
export function compareSpans(a: SpanSummary, b: SpanSummary): number {
  return (
    compareNano(a.startNano, b.startNano) ||
    compareText(a.spanId, b.spanId) ||
    compareText(a.name, b.name) ||
    compareNano(a.durationNano, b.durationNano) ||
    compareText(attributesText(a), attributesText(b))
  );
}

function attributesText({ attributes = [] }: SpanSummary): string {
  return attributes.map(({ key, value }) => `${key}\0${typeof value}\0${value}`).join("\0");
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function rowsByTrace(
  spans: SpanTimes,
  request: TraceDetailsRequest,
  keep: Uint8Array | undefined,
): Map<number, number[]> {
  const { codes, dictionary } = spans.traces;
  const wanted = wantedCodes(dictionary, request.ids);
  const rowsOf = new Map<number, number[]>();
  for (let row = 0; row < codes.length; row++) {
    if (wanted[codes[row]] === 0 || keep?.[row] === 0 || !spans.overlaps(row, request)) continue;
    const rows = rowsOf.get(codes[row]);
    if (rows === undefined) rowsOf.set(codes[row], [row]);
    else rows.push(row);
  }
  return rowsOf;
}

function maskOf(rows: number, chosen: Iterable<readonly number[]>): Uint8Array {
  const mask = new Uint8Array(rows);
  for (const some of chosen) for (const row of some) mask[row] = 1;
  return mask;
}

interface Readers {
  times: SpanTimes;
  details: DetailReader;
  fingerprints: Fingerprints;
  /** Rows that match; undefined: all. */
  hits: Uint8Array | undefined;
}

function detailsOf(
  readers: Readers,
  { traceId, rows }: { traceId: string; rows: readonly number[] },
  spansPerTrace: number,
): TraceDetails {
  const { times, details, hits } = readers;
  const matched = hits === undefined ? rows : rows.filter((row) => hits[row] === 1);
  const services = new Map<string, { spanCount: number; errorCount: number }>();
  let startNano = times.start[rows[0]];
  let endNano = times.end(rows[0]);
  const { roots } = details;
  let root = -1;
  for (const row of rows) {
    if (times.start[row] < startNano) startNano = times.start[row];
    if (times.end(row) > endNano) endNano = times.end(row);
    const service = details.service(row);
    const stats = services.get(service) ?? { spanCount: 0, errorCount: 0 };
    stats.spanCount++;
    if (details.isError(row)) stats.errorCount++;
    services.set(service, stats);
    if (roots.isRoot(row) && (root < 0 || roots.compare(row, root) < 0)) root = row;
  }
  return {
    traceId,
    startNano,
    endNano,
    root: root < 0 ? undefined : details.root(root),
    spans: firstSpans(readers, matched, spansPerTrace),
    matchedSpans: matched.length,
    fingerprints: readers.fingerprints.ofRows(rows),
    services: Object.fromEntries(services),
  };
}

function firstSpans(
  { times, details }: Readers,
  rows: readonly number[],
  count: number,
): SpanSummary[] {
  if (count === 0 || rows.length === 0) return [];
  const byStart = [...rows].sort((a, b) => compareNano(times.start[a], times.start[b]));
  // Spans that start at the same time as the last wanted one are candidates too: ids decide.
  const last = times.start[byStart[Math.min(count, byStart.length) - 1]];
  const race = byStart.filter((row) => times.start[row] <= last);
  return race
    .map((row) => details.summary(row))
    .sort(compareSpans)
    .slice(0, count);
}

/** Reads the values of `detailColumns` by row. */
class DetailReader {
  readonly #ids: Int64Column;
  readonly roots: RootOrder;
  readonly #names: DictColumn | undefined;
  readonly #statuses: DictColumn | undefined;
  readonly #services: DictColumn | undefined;
  readonly #times: SpanTimes;
  readonly #attributes: SpanAttributes | undefined;

  constructor(batch: ColumnBatch, times: SpanTimes, attributes: SpanAttributes | undefined) {
    const ids = columnOf(batch, "span_id", "int64");
    if (ids === undefined) throw new SpoorError("Corrupt", "a batch lacks span_id");
    this.#ids = ids;
    this.#names = columnOf(batch, "name", "dict");
    this.#statuses = columnOf(batch, "status", "dict");
    this.#services = serviceColumn(batch);
    this.roots = new RootOrder(batch, this.#services);
    this.#times = times;
    this.#attributes = attributes;
  }

  service(row: number): string {
    return textAt(this.#services, row);
  }

  isError(row: number): boolean {
    return textAt(this.#statuses, row) === "error";
  }

  root(row: number): RootSummary {
    const { spanId, name, startNano } = this.summary(row);
    return { spanId, service: this.service(row), name, startNano };
  }

  summary(row: number): SpanSummary {
    const { start } = this.#times;
    const summary: SpanSummary = {
      spanId: BigInt.asUintN(64, this.#ids.values[row]).toString(16).padStart(16, "0"),
      name: textAt(this.#names, row),
      startNano: start[row],
      durationNano: this.#times.end(row) - start[row],
    };
    if (this.#attributes !== undefined) summary.attributes = this.#attributes.ofRow(row);
    return summary;
  }
}

function textAt(column: DictColumn | undefined, row: number): string {
  const code = column?.codes[row] ?? -1;
  return code < 0 ? "" : valueText(column!.dictionary, code);
}
