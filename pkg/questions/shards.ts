/**
 * The interfaces between the frontend and the holders of spans. Shards are referred to by plain
 * data, and one call, `ask`, sends a question to some of them. All requests and responses can be
 * sent to another process: the codecs are in shard-codecs.ts and messages.ts.
 */
import type { SpoorError } from "#pkg/errors/errors.ts";
import type { BlockTags } from "#pkg/block/block.ts";
import type { TagCounts, TagQuestion, TagsRequest } from "#pkg/api/api.ts";
import type { Answered, AnswerOf, QuestionName, RequestOf } from "./question-table.ts";

export interface Partition {
  index: number;
  count: number;
}

/** Properties of a shard that are known without a request to it. */
interface ShardFacts {
  /** Name for messages: a block's path and row group, or a head's partition. */
  readonly name: string;
  readonly partition: Partition;
  readonly minStartNano: bigint;
  readonly maxStartNano: bigint;
  readonly maxEndNano: bigint;
  /** The latest start of a trace, where a trace starts with its earliest span; absent: unknown. */
  readonly maxTraceStartNano?: bigint;
  readonly spans: number;
  /** Approximate size in the store, bytes; 0 for spans in memory. */
  readonly sizeBytes: number;
  /** No trace is in two shards with the same value, as for row groups of one block. */
  readonly disjoint?: string;
}

/** A pinned head: it does not change until it is released. */
export interface HeadRef extends ShardFacts {
  readonly kind: "head";
  readonly tenant: string;
  /** The log of the head: the `txn` appId of its commits. */
  readonly appId: string;
  /**
   * The head holds its tenant's records of the log from the offset of the table's transaction
   * `appId` up to this offset, exclusive.
   */
  readonly toOffset: number;
  readonly pin: {
    /** The worker that holds the head; the numbers below are valid only for this worker. */
    readonly worker: string;
    readonly pinId: number;
    readonly headId: number;
  };
}

export interface RowGroupRef extends ShardFacts {
  readonly kind: "rowGroup";
  readonly block: BlockRef;
  readonly rowGroup: number;
}

export type ShardRef = HeadRef | RowGroupRef;

/** A block, with the offsets and checksums from its commit. */
export interface BlockRef {
  readonly tenant: string;
  /** Path below the tenant's folder. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly partition: Partition;
  readonly indexOffset: number;
  readonly footerOffset: number;
  /** `blockFactsCrc` of the commit. */
  readonly factsCrc: number;
  /** The bloom filter of the block's trace ids. */
  readonly bloom: BlockTags["bloom"];
}

/** A block of a snapshot, with one shard per row group. */
export interface StoredBlock {
  readonly path: string;
  readonly sizeBytes: number;
  readonly partition: Partition;
  readonly minStartNano: bigint;
  readonly maxEndNano: bigint;
  readonly ref: BlockRef;
  readonly shards: readonly RowGroupRef[];
}

/** A request to one shard. */
export interface ShardAsk<K extends QuestionName> {
  shard: ShardRef;
  request: RequestOf<K>;
}

/** The answer or error of one shard. */
export type Outcome<A> = Answered<A> | { error: SpoorError };

/** The outcomes of one call of `ask`, and its cost. */
export interface Outcomes<A> {
  /** In the order of the requests. A shard that fails does not fail the others. */
  outcomes: Outcome<A>[];
  /** Bytes read from the store for all shards, including those to open blocks. */
  readBytes: number;
  /** Time from the call to the last answer, milliseconds. */
  tookMs: number;
}

/** Shards that answer questions. */
export interface AskableShards {
  /**
   * Sends a question to some shards. Row groups share one job, because the cost of many small row
   * groups is mostly per request. Errors of one shard are outcomes: Corrupt, NotFound, Unavailable,
   * Timeout, LimitExceeded, and InvalidInput with reason `traceql_value` if the filter cannot be
   * evaluated over its spans. Throws only Canceled.
   */
  ask<K extends QuestionName>(
    question: K,
    asks: readonly ShardAsk<K>[],
    signal: AbortSignal,
  ): Promise<Outcomes<AnswerOf<K>>>;
}

/** Acknowledged spans in quarantine, which are in no head and no block. */
export interface AsideSpans {
  minStartNano: bigint;
  maxEndNano: bigint;
  /** 16 bytes per trace; undefined: any trace may be among them. */
  traceIds: Uint8Array | undefined;
}

/** The pinned heads of one tenant: they do not change until `release`. */
export interface PinnedHeads {
  heads: HeadRef[];
  /** The table version that the ingester has committed, -1 before the first commit. */
  tableVersion: number;
  /** Reasons why the heads may not hold all acknowledged spans; empty if they do. */
  incomplete: string[];
  /** Acknowledged spans that could not become a block, by log record; absent: none. */
  aside?: readonly AsideSpans[];
  release(): void;
}

/** The interface of the ingester to the frontend. */
export interface LiveSpans extends AskableShards {
  pin(tenant: string, signal: AbortSignal): Promise<PinnedHeads>;
}

/** The interface of the queriers to the frontend: a tenant's blocks. */
export interface StoredSpans extends AskableShards {
  /** Returns the blocks of the table at `minVersion` or later. */
  snapshot(tenant: string, minVersion: number, signal: AbortSignal): Promise<StoredSnapshot>;
  /**
   * Marks with 1 each of these traces (16 bytes each) that the block may hold; 0 is certain. Throws
   * only Canceled and Timeout.
   */
  mayHold(block: BlockRef, ids: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
  /**
   * Answers a question without a filter from the tag indexes of blocks, without reading rows. All
   * spans of a row group count if its time overlaps the range. Throws Canceled, Timeout,
   * Unavailable, LimitExceeded.
   */
  indexedTags(
    blocks: readonly StoredBlock[],
    request: TagsRequest,
    signal: AbortSignal,
  ): Promise<IndexedTags>;
}

/** Counts from the tag indexes of some blocks. */
export interface IndexedTags extends TagCounts {
  /** Row groups whose index does not list all values, and the questions left for them. */
  unread: { shard: RowGroupRef; question: TagQuestion }[];
  /** Blocks whose index could not be read, and why. */
  failed: { path: string; error: SpoorError }[];
  /** Bytes read from the store. */
  readBytes: number;
}

export interface FailedBlock {
  readonly path: string;
  /** The reason; names the block. */
  readonly message: string;
}

export interface StoredSnapshot {
  readonly version: number;
  readonly blocks: readonly StoredBlock[];
  /** Blocks whose commit cannot be read: every result must say that their spans are missing. */
  readonly failed: readonly FailedBlock[];
  /** The committed log offset by appId. */
  readonly transactions: ReadonlyMap<string, number>;
}
