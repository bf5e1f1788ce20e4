/**
 * Questions about whole traces over one ColumnBatch: which traces have a span in a time range, what
 * is known of some of them, and all spans of one. See pkg/api/query.ts for the meaning of answers.
 */
import type {
  ListTracesRequest,
  TraceDetails,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/query.ts";
import {
  type ColumnBatch,
  columnOf,
  type DictColumn,
  isValid,
  valueBytes,
  valueText,
} from "#pkg/columns/columns.ts";
import { readSpans } from "#pkg/columns/spans.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";

/** Columns that `listTraces` reads. */
export const listColumns: readonly string[] = ["trace_id", "start_unix_nano", "duration_nano"];

/** Columns that `traceDetails` reads. */
export const detailColumns: readonly string[] = [
  ...listColumns,
  "span_id",
  "parent_span_id",
  "name",
  "status",
  "resource.service.name",
];

/** Traces of the batch with a span in the range, newest start first. */
export function listTraces(batch: ColumnBatch, request: ListTracesRequest): TraceList {
  const spans = new SpanTimes(batch);
  const { codes, dictionary } = spans.traces;
  const first = new BigInt64Array(dictionary.length);
  const seen = new Uint8Array(dictionary.length);
  for (let row = 0; row < batch.rows; row++) {
    if (!spans.overlaps(row, request)) continue;
    const code = codes[row];
    const start = spans.start[row];
    if (seen[code] === 0 || start < first[code]) first[code] = start;
    seen[code] = 1;
  }
  const found = [...seen.keys()].filter((code) => seen[code] === 1);
  const idOf = (code: number): Uint8Array => valueBytes(dictionary, code);
  found.sort((a, b) => compareNano(first[b], first[a]) || Buffer.compare(idOf(a), idOf(b)));
  const kept = found.slice(0, request.limit);
  const ids = new Uint8Array(kept.length * 16);
  kept.forEach((code, i) => ids.set(idOf(code), i * 16));
  return {
    ids,
    startNanos: BigInt64Array.from(kept, (code) => first[code]),
    truncated: kept.length < found.length,
    inspectedSpans: batch.rows,
  };
}

/** Details of those of the asked traces that have a span in the range. */
export function traceDetails(batch: ColumnBatch, request: TraceDetailsRequest): TraceDetails[] {
  const spans = new SpanTimes(batch);
  const rowsOf = rowsByTrace(spans, request);
  return [...rowsOf].map(([code, rows]) => {
    const traceId = Buffer.from(valueBytes(spans.traces.dictionary, code)).toString("hex");
    return detailsOf(batch, spans, traceId, rows, request.spansPerTrace);
  });
}

/** All spans of a trace (16 bytes) as protobuf TracesData; undefined if the batch has none. */
export function findTrace(batch: ColumnBatch, traceId: Uint8Array): Uint8Array | undefined {
  const rows = traceRows(batch, traceId);
  return rows.length === 0 ? undefined : encodeTraceData(readSpans(batch, rows));
}

/** Rows of a trace, ascending. */
export function traceRows(batch: ColumnBatch, traceId: Uint8Array): number[] {
  const traces = columnOf(batch, "trace_id", "dict");
  if (traces === undefined) return [];
  const { codes, dictionary } = traces;
  const wanted = new Set<number>();
  for (let code = 0; code < dictionary.length; code++) {
    if (Buffer.compare(valueBytes(dictionary, code), traceId) === 0) wanted.add(code);
  }
  const rows: number[] = [];
  if (wanted.size === 0) return rows;
  for (let row = 0; row < batch.rows; row++) if (wanted.has(codes[row])) rows.push(row);
  return rows;
}

class SpanTimes {
  readonly traces: DictColumn;
  readonly start: BigInt64Array;
  readonly duration: BigInt64Array;

  constructor(batch: ColumnBatch) {
    const traces = columnOf(batch, "trace_id", "dict");
    const start = columnOf(batch, "start_unix_nano", "int64");
    const duration = columnOf(batch, "duration_nano", "int64");
    if (traces === undefined || start === undefined || duration === undefined) {
      throw new SpoorError("Corrupt", "a batch lacks trace_id, start_unix_nano or duration_nano");
    }
    this.traces = traces;
    this.start = start.values;
    this.duration = duration.values;
  }

  end(row: number): bigint {
    return this.duration[row] > 0n ? this.start[row] + this.duration[row] : this.start[row];
  }

  overlaps(row: number, { startNano, endNano }: { startNano: bigint; endNano: bigint }): boolean {
    return this.start[row] < endNano && this.end(row) >= startNano;
  }
}

function compareNano(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function rowsByTrace(spans: SpanTimes, request: TraceDetailsRequest): Map<number, number[]> {
  const { codes, dictionary } = spans.traces;
  const asked = new Set<string>();
  for (let at = 0; at + 16 <= request.ids.length; at += 16) {
    asked.add(Buffer.from(request.ids.subarray(at, at + 16)).toString("latin1"));
  }
  const wanted = new Uint8Array(dictionary.length);
  for (let code = 0; code < dictionary.length; code++) {
    const key = Buffer.from(valueBytes(dictionary, code)).toString("latin1");
    if (asked.has(key)) wanted[code] = 1;
  }
  const rowsOf = new Map<number, number[]>();
  for (let row = 0; row < codes.length; row++) {
    if (wanted[codes[row]] === 0 || !spans.overlaps(row, request)) continue;
    const rows = rowsOf.get(codes[row]);
    if (rows === undefined) rowsOf.set(codes[row], [row]);
    else rows.push(row);
  }
  return rowsOf;
}

function detailsOf(
  batch: ColumnBatch,
  spans: SpanTimes,
  traceId: string,
  rows: readonly number[],
  spansPerTrace: number,
): TraceDetails {
  const ids = columnOf(batch, "span_id", "int64")!;
  const parents = columnOf(batch, "parent_span_id", "int64");
  const text = (name: string, row: number): string => {
    const column = columnOf(batch, name, "dict");
    const code = column?.codes[row] ?? -1;
    return code < 0 ? "" : valueText(column!.dictionary, code);
  };
  const out: TraceDetails = {
    traceId,
    startNano: spans.start[rows[0]],
    endNano: spans.end(rows[0]),
    root: undefined,
    spans: [],
    matchedSpans: rows.length,
    services: {},
  };
  const services = new Map<string, { spanCount: number; errorCount: number }>();
  let rootRow = -1;
  const byStart = [...rows].sort(
    (a, b) =>
      compareNano(spans.start[a], spans.start[b]) ||
      compareNano(BigInt.asUintN(64, ids.values[a]), BigInt.asUintN(64, ids.values[b])),
  );
  for (const row of byStart) {
    if (spans.start[row] < out.startNano) out.startNano = spans.start[row];
    if (spans.end(row) > out.endNano) out.endNano = spans.end(row);
    const service = text("resource.service.name", row);
    const stats = services.get(service) ?? { spanCount: 0, errorCount: 0 };
    stats.spanCount++;
    if (text("status", row) === "error") stats.errorCount++;
    services.set(service, stats);
    const isRoot = parents === undefined || !isValid(parents.valid, row);
    if (isRoot && rootRow < 0) rootRow = row;
  }
  if (rootRow >= 0) {
    out.root = {
      service: text("resource.service.name", rootRow),
      name: text("name", rootRow),
      startNano: spans.start[rootRow],
    };
  }
  out.services = Object.fromEntries(services);
  out.spans = byStart.slice(0, spansPerTrace).map((row) => ({
    spanId: BigInt.asUintN(64, ids.values[row]).toString(16).padStart(16, "0"),
    name: text("name", row),
    startNano: spans.start[row],
    durationNano: spans.duration[row] > 0n ? spans.duration[row] : 0n,
  }));
  return out;
}
