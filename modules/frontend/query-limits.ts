/** What one query may cost: the bytes that it reads from the store, and its time range. */
import type { Shard, StoredBlock, StoredSpans, TimeRange } from "#pkg/api/query.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Limits } from "#pkg/limits/limits.ts";

/** Throws InvalidInput `query_range`. */
export function checkRange({ startNano, endNano }: TimeRange, { queryRangeMs }: Limits): void {
  if (queryRangeMs === 0 || endNano - startNano <= BigInt(queryRangeMs) * 1_000_000n) return;
  const message = `the time range is longer than ${queryRangeMs / 1000} s: narrow it`;
  throw new SpoorError("InvalidInput", message, { reason: "query_range" });
}

/**
 * The same spans for one query, which may read `bytesMax` bytes of blocks. What it reads is known
 * when it was read: a query may read a little more, by what it reads at the same time.
 */
export function withByteBudget(stored: StoredSpans, bytesMax: number): StoredSpans {
  const budget = new ByteBudget(bytesMax);
  /** Blocks by what stands for them here. */
  const own = new Map<StoredBlock, StoredBlock>();
  /** The same of shards. */
  const ownShards = new Map<Shard, Shard>();
  const shardOf = (shard: Shard): Shard => {
    const budgeted = budgetedShard(shard, budget);
    ownShards.set(budgeted, shard);
    return budgeted;
  };
  return {
    snapshot: async (tenant, minVersion, signal) => {
      const snapshot = await stored.snapshot(tenant, minVersion, signal);
      const blocks = snapshot.blocks.map((block) => {
        const budgeted = budgetedBlock(block, budget, shardOf);
        own.set(budgeted, block);
        return budgeted;
      });
      return { ...snapshot, blocks };
    },
    askShards: async (question, asks, signal) => {
      const asked = asks.map(({ shard, request }) => {
        return { shard: ownShards.get(shard) ?? shard, request };
      });
      return await budget.spend(
        () => stored.askShards(question, asked, signal),
        ({ inspectedBytes }) => inspectedBytes,
      );
    },
    indexedTags: async (blocks, request, signal) => {
      const asked = blocks.map((block) => own.get(block) ?? block);
      const found = await budget.spend(
        () => stored.indexedTags(asked, request, signal),
        ({ inspectedBytes }) => inspectedBytes,
      );
      const unread = found.unread.map((one) => ({ ...one, shard: shardOf(one.shard) }));
      return { ...found, unread };
    },
  };
}

class ByteBudget {
  readonly #bytesMax: number;
  #spentBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Throws InvalidInput `query_bytes` when all is spent. */
  check(): void {
    if (this.#spentBytes <= this.#bytesMax) return;
    const message =
      `the query reads more than ${this.#bytesMax} bytes: ` +
      "narrow its range or its condition, or ask for fewer traces";
    throw new SpoorError("InvalidInput", message, { reason: "query_bytes" });
  }

  async spend<T>(work: () => Promise<T>, bytesOf: (result: T) => number): Promise<T> {
    this.check();
    const result = await work();
    this.#spentBytes += bytesOf(result);
    this.check();
    return result;
  }
}

function budgetedBlock(
  block: StoredBlock,
  budget: ByteBudget,
  shardOf: (shard: Shard) => Shard,
): StoredBlock {
  return {
    path: block.path,
    sizeBytes: block.sizeBytes,
    partition: block.partition,
    minStartNano: block.minStartNano,
    maxEndNano: block.maxEndNano,
    mayHoldTrace: (id, signal) => block.mayHoldTrace(id, signal),
    findTrace: (id, signal, bytesMax) =>
      budget.spend(
        () => block.findTrace(id, signal, bytesMax),
        (found) => found?.length ?? 0,
      ),
    get shards() {
      return block.shards.map(shardOf);
    },
  };
}

function budgetedShard(shard: Shard, budget: ByteBudget): Shard {
  return {
    name: shard.name,
    partition: shard.partition,
    disjoint: shard.disjoint,
    minStartNano: shard.minStartNano,
    maxStartNano: shard.maxStartNano,
    maxEndNano: shard.maxEndNano,
    spans: shard.spans,
    sizeBytes: shard.sizeBytes,
    mayHoldTraces: (ids, signal) => shard.mayHoldTraces(ids, signal),
    heldTraces: (request, signal) =>
      budget.spend(
        () => shard.heldTraces(request, signal),
        ({ inspectedBytes }) => inspectedBytes,
      ),
    listTraces: (request, signal) =>
      budget.spend(
        () => shard.listTraces(request, signal),
        ({ inspectedBytes }) => inspectedBytes,
      ),
    traceDetails: (request, signal) =>
      budget.spend(
        () => shard.traceDetails(request, signal),
        ({ inspectedBytes }) => inspectedBytes,
      ),
    countTags: (request, signal) =>
      budget.spend(
        () => shard.countTags(request, signal),
        ({ inspectedBytes }) => inspectedBytes,
      ),
    findTrace: (id, signal, bytesMax) =>
      budget.spend(
        () => shard.findTrace(id, signal, bytesMax),
        (found) => found?.length ?? 0,
      ),
  };
}
