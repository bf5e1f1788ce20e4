/**
 * What shards are asked by a query, and what they answer: plain data. A shard is a live head or one
 * row group of a block; both answer the same questions (pkg/questions), because both are a
 * ColumnBatch to pkg/engine.
 *
 * A search asks a shard twice: first which traces it has, newest first, as ids and starts only;
 * then the details of the few traces that make the answer. With a filter, the shard lists only
 * traces of which it holds a span that matches; all else that is told of a trace (its start, its
 * root, its services) is about all its spans in the range. Times are nanoseconds since the epoch; a
 * range is [startNano, endNano) and holds the spans that overlap it.
 */

import type { FieldExpr, IntrinsicName } from "#pkg/traceql/traceql.ts";

export interface TimeRange {
  startNano: bigint;
  endNano: bigint;
}

/**
 * How a condition is answered, as plain data (pkg/engine/condition/plan.ts makes it).
 *
 *     prefilter   asked of single spans, in every shard
 *     filter      asked of the spans of the traces that are left, with the values of their whole
 *                 traces: in the shard where a trace lies wholly in it, else over its joined parts
 */
export interface QueryPlan {
  /** What at least one span of a trace must satisfy. */
  filter: FieldExpr;
  /**
   * What every such span satisfies by itself, whatever the rest of its trace is: `filter`, if that
   * names no value of the trace; undefined: any span may be one.
   */
  prefilter?: FieldExpr;
  /** Values of whole traces that the filter names: a part of a trace does not tell them. */
  traceNames: IntrinsicName[];
  /** Some values make the filter an error. */
  canFail: boolean;
  /** It asks for a pattern that is no choice of texts: that may take any time. */
  hasPattern: boolean;
  /** Columns that the filter reads where an attribute may be anywhere. */
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
  /** True if there were more traces than asked for: all of them start at or before the last one. */
  truncated: boolean;
  /**
   * With a plan that names values of whole traces: traces that do not match as far as this shard
   * knows them, but may once the rest of them is known; those before the last one in the order, or
   * all if the list is not truncated. The traces of the list match if this shard has all of them.
   */
  maybes?: { ids: Uint8Array; startNanos: BigInt64Array };
  /** Spans that were looked at. */
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

/** A value of a span by its bare name; an integer is a bigint, a double a number. */
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

/** What one shard knows of one trace within the range. */
export interface TraceDetails {
  /** 32 hex digits. */
  traceId: string;
  startNano: bigint;
  endNano: bigint;
  /** The earliest span without a parent (ties: pkg/columns/trace-root.ts), if it is here. */
  root: RootSummary | undefined;
  /**
   * The earliest spans that match, at most as many as asked for (ties: `compareSpans` of
   * pkg/engine).
   */
  spans: SpanSummary[];
  matchedSpans: number;
  /**
   * One number per span in the range, equal for spans that are equal in every field. A number that
   * comes twice, in one shard or in two, may be a span that a client sent twice: it must count
   * once.
   */
  fingerprints: BigUint64Array;
  services: Record<string, { spanCount: number; errorCount: number }>;
}

export interface ListTracesRequest extends TimeRange {
  /** How many traces to return at the most. */
  limit: number;
  /** The list may end once it has so many; undefined: it ends at the limit. */
  enough?: number;
  /** The condition that a span of the trace must satisfy; undefined: none. */
  plan?: QueryPlan;
  /**
   * No span of a trace here is in another shard with the same `disjoint`: what the shard has stored
   * of whole traces is of all their spans in it.
   */
  hasWholeTraces?: boolean;
}

export interface TraceDetailsRequest extends TimeRange {
  /** 16 bytes per trace. */
  ids: Uint8Array;
  spansPerTrace: number;
  /** The condition that spans must satisfy to be shown and counted as matched. */
  plan?: QueryPlan;
}

export interface HeldTracesRequest {
  /** 16 bytes per trace. */
  ids: Uint8Array;
}

export interface HeldTraces {
  /** 1 for each of the traces that the shard has spans of, in the order of the request. */
  marks: Uint8Array;
}

export interface FindTraceRequest {
  /** 16 bytes. */
  traceId: Uint8Array;
  /** An answer of more may lack some spans; undefined: no bound. */
  bytesMax?: number;
}
