/** Stored spans of which every question goes through one function. */
import type { Shard, StoredBlock, StoredSpans } from "#pkg/api/query.ts";

/** Asks a question, with a signal of its own. */
export type Through = <T>(
  work: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
) => Promise<T>;

export function mapStored(stored: StoredSpans, through: Through): StoredSpans {
  /** Blocks and shards by what stands for them here. */
  const blocks = new Map<StoredBlock, StoredBlock>();
  const shards = new Map<Shard, Shard>();
  const shardOf = (shard: Shard): Shard => {
    const mapped = mapShard(shard, through);
    shards.set(mapped, shard);
    return mapped;
  };
  return {
    snapshot: async (tenant, minVersion, signal) => {
      const snapshot = await through((own) => stored.snapshot(tenant, minVersion, own), signal);
      const mapped = snapshot.blocks.map((block) => {
        const one = mapBlock(block, through, shardOf);
        blocks.set(one, block);
        return one;
      });
      return { ...snapshot, blocks: mapped };
    },
    askShards: async (question, asks, signal) => {
      const asked = asks.map(({ shard, request }) => ({
        shard: shards.get(shard) ?? shard,
        request,
      }));
      return await through((own) => stored.askShards(question, asked, own), signal);
    },
    indexedTags: async (some, request, signal) => {
      const asked = some.map((block) => blocks.get(block) ?? block);
      const found = await through((own) => stored.indexedTags(asked, request, own), signal);
      const unread = found.unread.map((one) => ({ ...one, shard: shardOf(one.shard) }));
      return { ...found, unread };
    },
  };
}

function mapBlock(
  block: StoredBlock,
  through: Through,
  shardOf: (shard: Shard) => Shard,
): StoredBlock {
  const { path, sizeBytes, partition, minStartNano, maxEndNano } = block;
  let shards: readonly Shard[] | undefined;
  return {
    path,
    sizeBytes,
    partition,
    minStartNano,
    maxEndNano,
    mayHoldTrace: (id, signal) => through((own) => block.mayHoldTrace(id, own), signal),
    findTrace: (id, signal, bytesMax) =>
      through((own) => block.findTrace(id, own, bytesMax), signal),
    get shards() {
      shards ??= block.shards.map(shardOf);
      return shards;
    },
  };
}

function mapShard(shard: Shard, through: Through): Shard {
  const { name, partition, disjoint, minStartNano, maxStartNano, maxEndNano } = shard;
  const { spans, sizeBytes } = shard;
  return {
    name,
    partition,
    disjoint,
    minStartNano,
    maxStartNano,
    maxEndNano,
    spans,
    sizeBytes,
    mayHoldTraces: (ids, signal) => through((own) => shard.mayHoldTraces(ids, own), signal),
    heldTraces: (asked, signal) => through((own) => shard.heldTraces(asked, own), signal),
    listTraces: (asked, signal) => through((own) => shard.listTraces(asked, own), signal),
    traceDetails: (asked, signal) => through((own) => shard.traceDetails(asked, own), signal),
    countTags: (asked, signal) => through((own) => shard.countTags(asked, own), signal),
    findTrace: (id, signal, bytesMax) =>
      through((own) => shard.findTrace(id, own, bytesMax), signal),
  };
}
