/**
 * Blocks of a snapshot: what a commit says of one, checked, and where a job finds it.
 */
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

/** What all blocks share. */
export interface BlockContext extends ShardsAsker {
  store: StoreConfig;
  blooms: TraceBlooms;
  /** Keys of blocks that are not what their commit says -> why. */
  mismatched: LRUCache<string, string>;
}

/** Throws Corrupt, or InvalidInput for a newer format, if the commit's tags cannot be read. */
export function checkedBlock(tenant: string, file: BlockFile): StoredBlock {
  const tags = parseBlockTags(file);
  checkTags(file.path, tags);
  return storedBlock(tenant, file, tags);
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
  items: readonly ShardsItem<QuestionName>[],
  outcomes: readonly Outcome<unknown>[],
): void {
  outcomes.forEach((outcome, i) => {
    if ("error" in outcome) noteMismatch(context, items[i].place.key, outcome.error);
  });
}

/** The block's key in the store. */
export function keyOf({ tenant, path }: BlockRef): string {
  return `${tenant}/${path}`;
}

/** Where a job finds a block. */
export function placeOf(store: StoreConfig, block: BlockRef): BlockJobBase {
  const { sizeBytes, indexOffset, footerOffset, factsCrc } = block;
  return { store, key: keyOf(block), sizeBytes, indexOffset, footerOffset, factsCrc };
}

/** The same of a row group, with what it is asked. */
export function itemOf<K extends QuestionName>(
  store: StoreConfig,
  { shard, request }: ShardAsk<K>,
): ShardsItem<K> {
  if (shard.kind !== "rowGroup") {
    throw new SpoorError("Internal", `${shard.name} is no row group of a block`);
  }
  return { place: placeOf(store, shard.block), rowGroup: shard.rowGroup, request };
}
