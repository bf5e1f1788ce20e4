/**
 * Blocks of a snapshot as what the frontend asks: each question becomes a job on a worker thread.
 */
import type {
  DetailsAnswer,
  HeldTraces,
  HeldTracesRequest,
  ListTracesRequest,
  Outcome,
  Shard,
  ShardAsk,
  ShardQuestions,
  StoredBlock,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/query.ts";
import type { TagCounts, TagsRequest } from "#pkg/api/tags.ts";
import type { LRUCache } from "lru-cache";
import { blockFactsCrc, commitMismatch } from "#pkg/block/block-facts.ts";
import { type BlockTags, parseBlockTags, type RowGroupTimes } from "#pkg/block/block-file.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import type { BlockFile } from "#pkg/table/table.ts";
import { askShards, type ShardsAsker } from "./ask-shards.ts";
import type { BlockJobBase } from "./block-place.ts";
import type { StoreConfig } from "#pkg/objstore/store-config.ts";
import type { ShardQuestion, ShardsItem } from "./shards-job.ts";
import type { TraceBlooms } from "./trace-blooms.ts";

/** What all blocks share. */
export interface BlockContext extends ShardsAsker {
  store: StoreConfig;
  blooms: TraceBlooms;
  /** Keys of blocks that are not what their commit says -> why. */
  mismatched: LRUCache<string, string>;
}

/** Throws Corrupt, or InvalidInput for a newer format, if the commit's tags cannot be read. */
export function storedBlock(context: BlockContext, tenant: string, file: BlockFile): StoredBlock {
  const tags = parseBlockTags(file);
  checkTags(file.path, tags);
  return new BucketBlock(context, `${tenant}/${file.path}`, file, tags);
}

/** Most bits of one bloom shard that are read: 128 KiB. */
const shardBitsMax = 2 ** 20;

/**
 * A wrong partition would hide spans, a wrong size would fill memory: neither is taken on trust.
 */
function checkTags(path: string, { partition, bloom, rowGroups }: BlockTags): void {
  const { index, count } = partition;
  const isPowerOfTwo = count >= 1 && count <= 2 ** 30 && (count & (count - 1)) === 0;
  if (!isPowerOfTwo || index < 0 || index >= count) {
    throw new SpoorError("Corrupt", `block ${path}: its commit has partition ${index} of ${count}`);
  }
  const { offset, shards, bitsPerShard, hashes } = bloom;
  const hasBloom = offset >= 0 && shards >= 1 && hashes >= 1 && hashes <= 64;
  if (!hasBloom || bitsPerShard < 8 || bitsPerShard % 8 !== 0 || bitsPerShard > shardBitsMax) {
    throw new SpoorError("Corrupt", `block ${path}: its commit has an impossible bloom filter`);
  }
  if (rowGroups.some(({ rows }) => rows < 0)) {
    throw new SpoorError("Corrupt", `block ${path}: its commit has a row group of negative size`);
  }
}

/**
 * Remembers a block that its commit describes wrongly: what is left out by the commit alone, as
 * traces of other partitions are, would not be missed otherwise.
 */
export function noteMismatch({ mismatched }: BlockContext, key: string, error: unknown): void {
  if (error instanceof SpoorError && error.reason === commitMismatch) {
    mismatched.set(key, error.message);
  }
}

/** The same for the outcomes of several row groups. */
export function noteMismatches(
  context: BlockContext,
  items: readonly ShardsItem<ShardQuestion>[],
  outcomes: readonly Outcome<unknown>[],
): void {
  outcomes.forEach((outcome, i) => {
    if ("error" in outcome) noteMismatch(context, items[i].place.key, outcome.error);
  });
}

/** The place of a block that `storedBlock` made. */
export function placeOf(block: StoredBlock): BlockJobBase {
  if (block instanceof BucketBlock) return block.place;
  throw new SpoorError("Internal", `block ${block.path} is not one of a snapshot`);
}

/** The same of a shard of such a block, with what it is asked. */
export function itemOf<K extends ShardQuestion>({ shard, request }: ShardAsk<K>): ShardsItem<K> {
  if (shard instanceof RowGroupShard) return shard.item(request);
  throw new SpoorError("Internal", `shard ${shard.name} is not one of a snapshot`);
}

class BucketBlock implements StoredBlock {
  readonly path: string;
  readonly sizeBytes: number;
  readonly spans: number;
  readonly partition: { index: number; count: number };
  readonly minStartNano: bigint;
  readonly maxEndNano: bigint;
  readonly shards: readonly Shard[];
  readonly #context: BlockContext;
  readonly #key: string;
  readonly #tags: BlockTags;
  #factsCrc: number | undefined;

  constructor(context: BlockContext, key: string, file: BlockFile, tags: BlockTags) {
    this.#context = context;
    this.#key = key;
    this.#tags = tags;
    this.path = file.path;
    this.sizeBytes = file.sizeBytes;
    this.partition = tags.partition;
    const groups = tags.rowGroups;
    this.spans = groups.reduce((sum, { rows }) => sum + rows, 0);
    this.minStartNano = groups.reduce((a, b) =>
      b.minStartNano < a.minStartNano ? b : a,
    ).minStartNano;
    this.maxEndNano = groups.reduce((a, b) => (b.maxEndNano > a.maxEndNano ? b : a)).maxEndNano;
    this.shards = groups.map(
      (times, rowGroup) => new RowGroupShard(this, context, times, rowGroup),
    );
  }

  get place(): BlockJobBase {
    const { sizeBytes } = this;
    const { indexOffset, footerOffset } = this.#tags;
    const { store } = this.#context;
    const factsCrc = (this.#factsCrc ??= blockFactsCrc(this.#tags));
    return { store, key: this.#key, sizeBytes, indexOffset, footerOffset, factsCrc };
  }

  async mayHoldTrace(traceId: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const { index, count } = this.partition;
    if (partitionOf(traceId, 0, count) !== index) return false;
    return await this.#context.blooms.mayHold(this.#key, this.#tags.bloom, traceId, signal);
  }

  async mayHoldTraces(ids: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    return await this.#context.blooms.mayHoldMany(this.#key, this.#tags.bloom, ids, signal);
  }

  async findTrace(
    traceId: Uint8Array,
    signal: AbortSignal,
    bytesMax?: number,
  ): Promise<Uint8Array | undefined> {
    return await this.find({ rowGroup: undefined, traceId, bytesMax }, signal);
  }

  /** All spans of a trace in one row group, or in all. */
  async find(
    request: { rowGroup: number | undefined; traceId: Uint8Array; bytesMax?: number },
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const job = { kind: "find" as const, ...this.place, ...request };
    try {
      return await this.#context.pool.run<"find">(job, signal);
    } catch (error) {
      noteMismatch(this.#context, this.#key, error);
      throw error;
    }
  }
}

class RowGroupShard implements Shard {
  readonly name: string;
  readonly partition: { index: number; count: number };
  readonly minStartNano: bigint;
  readonly maxStartNano: bigint;
  readonly maxEndNano: bigint;
  readonly spans: number;
  readonly sizeBytes: number;
  readonly disjoint: string;
  readonly #block: BucketBlock;
  readonly #context: BlockContext;
  readonly #rowGroup: number;

  constructor(block: BucketBlock, context: BlockContext, times: RowGroupTimes, rowGroup: number) {
    this.name = `block ${block.path} row group ${rowGroup}`;
    // The cut keeps a trace in one row group. Whoever merges blocks must say so in their tags.
    this.disjoint = block.path;
    this.partition = block.partition;
    this.minStartNano = times.minStartNano;
    this.maxStartNano = times.maxStartNano;
    this.maxEndNano = times.maxEndNano;
    this.spans = times.rows;
    this.sizeBytes = Math.ceil(block.sizeBytes * (times.rows / Math.max(1, block.spans)));
    this.#block = block;
    this.#context = context;
    this.#rowGroup = rowGroup;
  }

  item<K extends ShardQuestion>(request: ShardQuestions[K]["request"]): ShardsItem<K> {
    return { place: this.#block.place, rowGroup: this.#rowGroup, request };
  }

  async mayHoldTraces(ids: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    return await this.#block.mayHoldTraces(ids, signal);
  }

  async listTraces(request: ListTracesRequest, signal: AbortSignal): Promise<TraceList> {
    return await this.#ask("list", request, signal);
  }

  async traceDetails(request: TraceDetailsRequest, signal: AbortSignal): Promise<DetailsAnswer> {
    return await this.#ask("details", request, signal);
  }

  async heldTraces(request: HeldTracesRequest, signal: AbortSignal): Promise<HeldTraces> {
    return await this.#ask("held", request, signal);
  }

  async countTags(request: TagsRequest, signal: AbortSignal): Promise<TagCounts> {
    return await this.#ask("countTags", request, signal);
  }

  async findTrace(
    traceId: Uint8Array,
    signal: AbortSignal,
    bytesMax?: number,
  ): Promise<Uint8Array | undefined> {
    return await this.#block.find({ rowGroup: this.#rowGroup, traceId, bytesMax }, signal);
  }

  async #ask<K extends ShardQuestion>(
    question: K,
    request: ShardQuestions[K]["request"],
    signal: AbortSignal,
  ): Promise<ShardQuestions[K]["answer"]> {
    const items = [this.item<K>(request)];
    const { outcomes, inspectedBytes } = await askShards(this.#context, question, items, signal);
    noteMismatches(this.#context, items, outcomes);
    const [outcome] = outcomes;
    if ("error" in outcome) throw outcome.error;
    return { ...outcome.answer, inspectedBytes };
  }
}
