/** Blocks of a snapshot: checks the facts in a commit, and tells jobs where to find a block. */
import type { LRUCache } from "lru-cache";
import { commitMismatch } from "#pkg/block/block-facts.ts";
import { type BlockTags, parseBlockTags } from "#pkg/block/block.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { StoreConfig } from "#pkg/objstore/objstore.ts";
import {
  type BlockRef,
  type Outcome,
  type QuestionName,
  type ShardAsk,
  type StoredBlock,
  storedBlock,
} from "#pkg/questions/questions.ts";
import type { BlockFile } from "#pkg/table/table.ts";
import type { ShardsAsker } from "./ask-shards.ts";
import type { BlockJobBase } from "./block-place.ts";
import type { ShardsItem } from "./shards-job.ts";
import type { TraceBlooms } from "./trace-blooms.ts";

/** Dependencies shared by all blocks. */
export interface BlockContext extends ShardsAsker {
  store: StoreConfig;
  blooms: TraceBlooms;
  /** Keys of blocks that differ from their commit -> why. */
  mismatched: LRUCache<string, string>;
}

/**
 * Returns a block from the facts in its commit. Throws Corrupt, or InvalidInput for a newer format,
 * if the commit's tags cannot be read.
 */
export function checkedBlock(tenant: string, file: BlockFile): StoredBlock {
  const tags = parseBlockTags(file);
  checkTags(file.path, tags);
  return storedBlock(tenant, file, tags);
}

/** Largest bloom shard that is read, bits: 128 KiB. */
const shardBitsMax = 2 ** 20;

/** Checks a commit's tags: a wrong partition would hide spans, a wrong size could fill memory. */
function checkTags(path: string, { partition, bloom, rowGroups }: BlockTags): void {
  const { index, count } = partition;
  const isPowerOfTwo = count >= 1 && count <= 2 ** 30 && (count & (count - 1)) === 0;
  if (!isPowerOfTwo || index < 0 || index >= count) {
    throw new SpoorError("Corrupt", `block ${path}: its commit has partition ${index} of ${count}`);
  }
  const { offset, shards, bitsPerShard, hashes } = bloom;
  const hasBloom = offset >= 0 && shards >= 1 && hashes >= 1 && hashes <= 64;
  if (!hasBloom || bitsPerShard < 8 || bitsPerShard % 8 !== 0 || bitsPerShard > shardBitsMax) {
    throw new SpoorError("Corrupt", `block ${path}: its commit has invalid bloom filter sizes`);
  }
  if (rowGroups.some(({ rows }) => rows < 0)) {
    throw new SpoorError("Corrupt", `block ${path}: its commit has a row group of negative size`);
  }
}

/**
 * Remembers a block whose commit describes it wrongly. Later searches report it as failed:
 * otherwise spans that are skipped by the commit's facts alone would be missing silently.
 */
export function noteMismatch({ mismatched }: BlockContext, key: string, error: unknown): void {
  if (error instanceof SpoorError && error.reason === commitMismatch) {
    mismatched.set(key, error.message);
  }
}

/** Calls `noteMismatch` for the outcomes of several row groups. */
export function noteMismatches(
  context: BlockContext,
  items: readonly ShardsItem<QuestionName>[],
  outcomes: readonly Outcome<unknown>[],
): void {
  outcomes.forEach((outcome, i) => {
    if ("error" in outcome) noteMismatch(context, items[i].place.key, outcome.error);
  });
}

/** Returns the block's key in the store. */
export function keyOf({ tenant, path }: BlockRef): string {
  return `${tenant}/${path}`;
}

/** Returns where a job finds a block. */
export function placeOf(store: StoreConfig, block: BlockRef): BlockJobBase {
  const { sizeBytes, indexOffset, footerOffset, factsCrc } = block;
  return { store, key: keyOf(block), sizeBytes, indexOffset, footerOffset, factsCrc };
}

/** Returns the job item of a row group and its request. Throws Internal for another shard. */
export function itemOf<K extends QuestionName>(
  store: StoreConfig,
  { shard, request }: ShardAsk<K>,
): ShardsItem<K> {
  if (shard.kind !== "rowGroup") {
    throw new SpoorError("Internal", `${shard.name} is not a row group of a block`);
  }
  return { place: placeOf(store, shard.block), rowGroup: shard.rowGroup, request };
}
