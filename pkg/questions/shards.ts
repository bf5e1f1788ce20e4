/**
 * What the frontend needs of everything that holds spans: shards that are named by plain data, and
 * one call that asks some of them (`ask`). Whatever goes in or comes out could cross a process:
 * codecs are in shard-codecs.ts and questions.ts.
 */
import type { SpoorError } from "#pkg/errors/errors.ts";
import type { BlockTags } from "#pkg/block/block.ts";
import type { TagCounts, TagQuestion, TagsRequest } from "#pkg/api/api.ts";
import type { Answered, AnswerOf, QuestionName, RequestOf } from "./question-table.ts";

export interface Partition {
  index: number;
  count: number;
}

/** What is known of a shard without asking it. */
interface ShardFacts {
  /** For messages: a block's path and row group, or a head's partition. */
  readonly name: string;
  readonly partition: Partition;
  readonly minStartNano: bigint;
  readonly maxStartNano: bigint;
  readonly maxEndNano: bigint;
  /** No trace has its earliest span later than this; absent: not known. */
  readonly maxTraceStartNano?: bigint;
  readonly spans: number;
  /** About what it takes in the store, bytes; 0 for spans in memory. */
  readonly sizeBytes: number;
  /** No trace is in two shards with the same value: row groups of a block as it was cut. */
  readonly disjoint?: string;
}

/** A head that is pinned: it stays as it was. */
export interface HeadRef extends ShardFacts {
  readonly kind: "head";
  readonly tenant: string;
  /** Which log it reads: the `txn` appId of its commits. */
  readonly appId: string;
  /**
   * The head holds its tenant's records of the log with offsets below this one, as far as the
   * table's transaction `appId` has not reached them.
   */
  readonly toOffset: number;
  readonly pin: {
    /** The worker that holds it; another one knows other heads by these numbers. */
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

/** A block, and what its commit says of where things are in it. */
export interface BlockRef {
  readonly tenant: string;
  /** Below the tenant's folder. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly partition: Partition;
  readonly indexOffset: number;
  readonly footerOffset: number;
  /** `blockFactsCrc` of the commit. */
  readonly factsCrc: number;
  /** Of the ids of its traces. */
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

/** One shard, and what it is asked. */
export interface ShardAsk<K extends QuestionName> {
  shard: ShardRef;
  request: RequestOf<K>;
}

/** What one shard said. */
export type Outcome<A> = Answered<A> | { error: SpoorError };

/** What shards said that were asked together, and what that took. */
export interface Outcomes<A> {
  /** In the order in which they were asked; one that fails does not fail the others. */
  outcomes: Outcome<A>[];
  /** Bytes that were read from the store for all of them, also to open blocks. */
  readBytes: number;
  /** From the question to the last answer, milliseconds. */
  tookMs: number;
}

/** What can be asked. */
export interface AskableShards {
  /**
   * Asks some shards, row groups in one job: what many small ones cost one by one is mostly the
   * asking. Errors of one shard: Corrupt, NotFound, Unavailable, Timeout, LimitExceeded;
   * InvalidInput with reason `traceql_value` for a filter that its spans make impossible. Throws
   * Canceled only.
   */
  ask<K extends QuestionName>(
    question: K,
    asks: readonly ShardAsk<K>[],
    signal: AbortSignal,
  ): Promise<Outcomes<AnswerOf<K>>>;
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
  heads: HeadRef[];
  /** The table version that the ingester has committed, -1 before the first commit. */
  tableVersion: number;
  /** Reasons why the heads may not hold all acknowledged spans; empty if they do. */
  incomplete: string[];
  /** Acknowledged spans that could not become a block, by log record; absent: none. */
  aside?: readonly AsideSpans[];
  release(): void;
}

/** What the frontend needs of the ingester. */
export interface LiveSpans extends AskableShards {
  pin(tenant: string, signal: AbortSignal): Promise<PinnedHeads>;
}

/** What the frontend needs of the queriers: a tenant's blocks. */
export interface StoredSpans extends AskableShards {
  /** The blocks of the table at `minVersion` or later. */
  snapshot(tenant: string, minVersion: number, signal: AbortSignal): Promise<StoredSnapshot>;
  /**
   * 1 for each of these traces (16 bytes each) of which the block may hold spans; 0 is certain.
   * Throws Canceled and Timeout only.
   */
  mayHold(block: BlockRef, ids: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
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
  unread: { shard: RowGroupRef; question: TagQuestion }[];
  /** Blocks whose index could not be read, and why. */
  failed: { path: string; error: SpoorError }[];
  /** Bytes that were read from the store for it. */
  readBytes: number;
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
