/**
 * Requests of queries to shards, and their answers, as plain data. A shard is a live head or one
 * row group of a block. Both answer the same questions (pkg/questions), because both are a
 * ColumnBatch to pkg/engine.
 *
 * A search sends two kinds of requests to a shard. The first lists its traces, newest first, as ids
 * and starts only. The second returns details of the few traces in the result. With a filter, a
 * shard lists only traces with a matching span (and maybes, see `TraceList`). The details of a
 * trace (start, root, services) cover all its spans in the range, matching or not.
 *
 * Times are nanoseconds since the epoch. A range is [startNano, endNano) and contains the spans
 * that overlap it.
 */

import type { FieldExpr, IntrinsicName } from "#pkg/traceql/traceql.ts";

export interface TimeRange {
  startNano: bigint;
  endNano: bigint;
}

/**
 * How a condition is evaluated, as plain data (made by pkg/engine/condition/plan.ts).
 *
 *     prefilter   evaluated on single spans, in every shard
 *     filter      evaluated on the spans of the remaining traces, with the values of whole traces:
 *                 in the shard that holds the whole trace, otherwise over the joined parts
 */
export interface QueryPlan {
  /** The condition that at least one span of a trace must match. */
  filter: FieldExpr;
  /**
   * A condition on single spans that every matching span satisfies, whatever the rest of its trace.
   * It is `filter` itself if that names no value of the trace. Undefined: any span may match.
   */
  prefilter?: FieldExpr;
  /** Values of whole traces that the filter names; a part of a trace does not determine them. */
  traceNames: IntrinsicName[];
  /** Evaluating the filter throws for some values. */
  canFail: boolean;
  /** The filter has a pattern other than a choice of texts, so its run time is not bounded. */
  hasPattern: boolean;
  /** Columns that the filter reads if the locations of attributes are not known. */
  columns: string[];
  /** The only trace (16 bytes) that may match. */
  traceId?: Uint8Array;
}

/**
 * Traces of one shard with a span in the range that matches the filter, newest start first (ties:
 * by id, ascending).
 */
export interface TraceList {
  /** 16 bytes per trace. */
  ids: Uint8Array;
  /** Earliest start of the trace's spans in this shard and range. */
  startNanos: BigInt64Array;
  /** True if the list ended early: all further traces start at or before the last one listed. */
  truncated: boolean;
  /**
   * Only with a plan that names values of whole traces: traces that do not match by their spans in
   * this shard, but may match with their spans in other shards. If the list is truncated, only
   * maybes before its last trace are included. Listed traces match if this shard holds all their
   * spans.
   */
  maybes?: { ids: Uint8Array; startNanos: BigInt64Array };
  /** Spans that were inspected. */
  inspectedSpans: number;
}

export interface SpanSummary {
  /** 16 hex digits. */
  spanId: string;
  name: string;
  startNano: bigint;
  durationNano: bigint;
  /** Values of the names in the filter, in its order; absent without a filter. */
  attributes?: SpanAttribute[];
}

/** A value of a span by its bare name. Integers are bigints, doubles are numbers. */
export interface SpanAttribute {
  key: string;
  value: string | bigint | number | boolean;
}

export interface RootSummary {
  /** 16 hex digits. */
  spanId: string;
  service: string;
  name: string;
  startNano: bigint;
}

export interface DetailsAnswer {
  traces: TraceDetails[];
}

/** Details of one trace from its spans in one shard and the range. */
export interface TraceDetails {
  /** 32 hex digits. */
  traceId: string;
  startNano: bigint;
  endNano: bigint;
  /** The earliest span without a parent (ties: pkg/columns/trace-root.ts), if the shard has one. */
  root: RootSummary | undefined;
  /**
   * The earliest spans that match, at most `spansPerTrace` (ties: `compareSpans` of pkg/engine).
   */
  spans: SpanSummary[];
  matchedSpans: number;
  /**
   * One number per span in the range, equal for spans that are equal in every field. If a number
   * occurs twice, in one shard or in two, the spans may be duplicates, which must count once.
   */
  fingerprints: BigUint64Array;
  services: Record<string, { spanCount: number; errorCount: number }>;
}

export interface ListTracesRequest extends TimeRange {
  /** Traces returned at most. */
  limit: number;
  /** The list may end once it has this many traces; undefined: it ends at `limit`. */
  enough?: number;
  /** The condition that a span of the trace must match; undefined: none. */
  plan?: QueryPlan;
  /**
   * The shard holds all spans of its traces within its block (`disjoint`), so its stored values of
   * whole traces cover exactly the spans of the shard.
   */
  hasWholeTraces?: boolean;
}

export interface TraceDetailsRequest extends TimeRange {
  /** 16 bytes per trace. */
  ids: Uint8Array;
  spansPerTrace: number;
  /** The condition of spans that are listed and counted as matched. */
  plan?: QueryPlan;
}

export interface HeldTracesRequest {
  /** 16 bytes per trace. */
  ids: Uint8Array;
}

export interface HeldTraces {
  /** 1 for each trace of which the shard has spans, in the order of the request. */
  marks: Uint8Array;
}

export interface FindTraceRequest {
  /** 16 bytes. */
  traceId: Uint8Array;
  /** If an answer is larger, spans may be missing; undefined: no limit. */
  bytesMax?: number;
}
