/**
 * The contract of a query: what the frontend needs of everything that holds spans. A shard is a
 * live head or one row group of a block; both answer the same questions, because both are a
 * ColumnBatch to pkg/engine.
 *
 * A search asks a shard twice: first which traces it has, newest first, as ids and starts only;
 * then the details of the few traces that make the answer. With a filter, the shard lists only
 * traces of which it holds a span that matches; all else that is told of a trace (its start, its
 * root, its services) is about all its spans in the range. Times are nanoseconds since the epoch; a
 * range is [startNano, endNano) and holds the spans that overlap it.
 */

import type { SpoorError } from "#pkg/errors/errors.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
import type { TagCounts, TagQuestion, TagsRequest } from "./tags.ts";

export interface TimeRange {
  startNano: bigint;
  endNano: bigint;
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
   * With a filter that names values of whole traces: traces that do not match as far as this shard
   * knows them, but may once the rest of them is known; those before the last one in the order, or
   * all if the list is not truncated. The traces of the list match if this shard has all of them.
   */
  maybes?: { ids: Uint8Array; startNanos: BigInt64Array };
  /** Spans that were looked at. */
  inspectedSpans: number;
  /** Bytes that were read from the store for it, also to open a block; 0 for spans in memory. */
  inspectedBytes: number;
  /** True if the index alone told that nothing matches. */
  isPruned?: boolean;
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
  /** Bytes that were read from the store for it; 0 for spans in memory. */
  inspectedBytes: number;
}

/** What one shard knows of one trace within the range. */
export interface TraceDetails {
  /** 32 hex digits. */
  traceId: string;
  startNano: bigint;
  endNano: bigint;
  /** The earliest span without a parent (ties: `compareRoots` of pkg/engine), if it is here. */
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
  /** The condition that a span of the trace must satisfy; undefined: none. */
  filter?: FieldExpr;
}

export interface TraceDetailsRequest extends TimeRange {
  /** 16 bytes per trace. */
  ids: Uint8Array;
  spansPerTrace: number;
  /** The condition that spans must satisfy to be shown and counted as matched. */
  filter?: FieldExpr;
}

export interface HeldTracesRequest {
  /** 16 bytes per trace. */
  ids: Uint8Array;
}

export interface HeldTraces {
  /** 1 for each of the traces that the shard has spans of, in the order of the request. */
  marks: Uint8Array;
  /** Bytes that were read from the store for it; 0 for spans in memory. */
  inspectedBytes: number;
}

/** What many shards can be asked together: for each question, what one is asked and answers. */
export interface ShardQuestions {
  list: { request: ListTracesRequest; answer: TraceList };
  details: { request: TraceDetailsRequest; answer: DetailsAnswer };
  held: { request: HeldTracesRequest; answer: HeldTraces };
  countTags: { request: TagsRequest; answer: TagCounts };
}

/** One shard, and what it is asked. */
export interface ShardAsk<K extends keyof ShardQuestions> {
  shard: Shard;
  request: ShardQuestions[K]["request"];
}

export type Outcome<T> = { answer: T } | { error: SpoorError };

/** Answers of shards that were asked together. */
export interface Outcomes<T> {
  /** In the order in which they were asked; one that fails does not fail the others. */
  outcomes: Outcome<T>[];
  /** Bytes that were read for all of them; the single answers say 0. */
  inspectedBytes: number;
}

/**
 * Something that holds spans of one partition. Errors: Corrupt, NotFound, Unavailable, Canceled;
 * InvalidInput with reason `traceql_value` for a filter that these spans make impossible.
 */
export interface Shard {
  /** For messages: a block's path and row group, or a head's partition. */
  readonly name: string;
  readonly partition: { index: number; count: number };
  /** No trace is in two shards with the same value: row groups of a block as it was cut. */
  readonly disjoint?: string;
  readonly minStartNano: bigint;
  readonly maxStartNano: bigint;
  readonly maxEndNano: bigint;
  readonly spans: number;
  /** About what it takes in the store, bytes; 0 for spans in memory. */
  readonly sizeBytes: number;
  /** 1 for each of these traces (16 bytes each) of which it may hold spans; 0 is certain. */
  mayHoldTraces(ids: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
  /** The same for certain, whatever the time of the spans. */
  heldTraces(request: HeldTracesRequest, signal: AbortSignal): Promise<HeldTraces>;
  listTraces(request: ListTracesRequest, signal: AbortSignal): Promise<TraceList>;
  traceDetails(request: TraceDetailsRequest, signal: AbortSignal): Promise<DetailsAnswer>;
  /**
   * All spans of a trace as protobuf TracesData; undefined if it has none. An answer of more than
   * `bytesMax` may lack some of them.
   */
  findTrace(
    traceId: Uint8Array,
    signal: AbortSignal,
    bytesMax?: number,
  ): Promise<Uint8Array | undefined>;
  /** Names or values of tags, from its spans. */
  countTags(request: TagsRequest, signal: AbortSignal): Promise<TagCounts>;
}

/** Acknowledged spans in quarantine: they are in no head and no block. */
export interface AsideSpans {
  minStartNano: bigint;
  maxEndNano: bigint;
  /** 16 bytes per trace; undefined: any trace may be among them. */
  traceIds: Uint8Array | undefined;
}

/** The heads of one tenant, pinned: they stay as they were until `release`. */
export interface PinnedHeads {
  heads: PinnedHead[];
  /** The table version that the ingester has committed, -1 before the first commit. */
  tableVersion: number;
  /** Reasons why the heads may not hold all acknowledged spans; empty if they do. */
  incomplete: string[];
  /** Acknowledged spans that could not become a block, by log record; absent: none. */
  aside?: readonly AsideSpans[];
  release(): void;
}

export interface PinnedHead extends Shard {
  /** Which log it reads: the `txn` appId of its commits. */
  readonly appId: string;
  /**
   * The head holds its tenant's records of the log with offsets below this one, as far as the
   * table's transaction `appId` has not reached them.
   */
  readonly toOffset: number;
}

/** What the frontend needs of the ingester. */
export interface LiveSpans {
  pin(tenant: string, signal: AbortSignal): Promise<PinnedHeads>;
}

/** What the frontend needs of the queriers: a tenant's blocks. */
export interface StoredSpans {
  /** The blocks of the table at `minVersion` or later. */
  snapshot(tenant: string, minVersion: number, signal: AbortSignal): Promise<StoredSnapshot>;
  /**
   * Asks row groups of blocks of a snapshot in one job: what many small ones cost one by one is
   * mostly the asking. Throws Canceled only.
   */
  askShards<K extends keyof ShardQuestions>(
    question: K,
    asks: readonly ShardAsk<K>[],
    signal: AbortSignal,
  ): Promise<Outcomes<ShardQuestions[K]["answer"]>>;
  /**
   * Answers a question without a filter from the tag indexes of blocks of a snapshot: no row is
   * read. Row groups count whole if their time overlaps the range. Throws Canceled, Timeout,
   * Unavailable, LimitExceeded.
   */
  indexedTags(
    blocks: readonly StoredBlock[],
    request: TagsRequest,
    signal: AbortSignal,
  ): Promise<IndexedTags>;
}

/** What the tag indexes of some blocks tell. */
export interface IndexedTags extends TagCounts {
  /** Row groups whose index does not know all, and what they are still to be asked. */
  unread: { shard: Shard; question: TagQuestion }[];
  /** Blocks whose index could not be read, and why. */
  failed: { path: string; error: SpoorError }[];
}

export interface StoredBlock {
  readonly path: string;
  readonly sizeBytes: number;
  readonly partition: { index: number; count: number };
  readonly minStartNano: bigint;
  readonly maxEndNano: bigint;
  mayHoldTrace(traceId: Uint8Array, signal: AbortSignal): Promise<boolean>;
  /** As of a shard. */
  findTrace(
    traceId: Uint8Array,
    signal: AbortSignal,
    bytesMax?: number,
  ): Promise<Uint8Array | undefined>;
  /** One shard per row group. */
  readonly shards: readonly Shard[];
}

export interface FailedBlock {
  readonly path: string;
  /** Why, in words that name the block. */
  readonly message: string;
}

export interface StoredSnapshot {
  readonly version: number;
  readonly blocks: readonly StoredBlock[];
  /** Blocks whose commit cannot be read: every answer must say that it may lack their spans. */
  readonly failed: readonly FailedBlock[];
  /** appId -> log offset that the table has reached. */
  readonly transactions: ReadonlyMap<string, number>;
}
