/**
 * Test support: live and stored spans for the frontend, made of real heads and real blocks that are
 * read in this thread. The ingester and the querier answer the same questions on threads of theirs.
 */
import type {
  AsideSpans,
  IndexedTags,
  LiveSpans,
  Outcome,
  Outcomes,
  PinnedHead,
  PinnedHeads,
  Shard,
  ShardAsk,
  ShardQuestions,
  StoredBlock,
  StoredSnapshot,
  StoredSpans,
} from "#pkg/api/query.ts";
import type { TagsRequest } from "#pkg/api/tags.ts";
import { type BlockTags, parseBlockTags } from "#pkg/block/block-file.ts";
import type { BlockIndex } from "#pkg/block/block-index.ts";
import { type BlockReader, openBlock } from "#pkg/block/reader.ts";
import type { ColumnBatch } from "#pkg/columns/columns.ts";
import type { HeadData } from "#pkg/columns/head.ts";
import { batchOfHead, headOf, putBlock, type SpanSpec } from "#pkg/engine/testing.ts";
import {
  detailsOfRowGroup,
  findInRowGroups,
  heldInRowGroup,
  listRowGroup,
} from "#pkg/engine/row-group.ts";
import { listTraces } from "#pkg/engine/list-traces.ts";
import { findTrace, heldTraces, traceDetails } from "#pkg/engine/traces.ts";
import { SpanTimes } from "#pkg/engine/span-times.ts";
import { countRowGroupTags, tagsOfIndex } from "#pkg/engine/block-tags.ts";
import { TagCounter } from "#pkg/engine/tag-counter.ts";
import { countTags } from "#pkg/engine/tags.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import { askShard } from "./shard-jobs.ts";
import { overlaps } from "./view.ts";

export const tenant = "single-tenant";

interface Times {
  minStartNano: bigint;
  maxStartNano: bigint;
  maxEndNano: bigint;
}

function timesOfBatch(batch: ColumnBatch): Times {
  const times = new SpanTimes(batch);
  const starts = [...times.start];
  const ends = starts.map((_, row) => times.end(row));
  const least = (values: bigint[]): bigint => values.reduce((a, b) => (b < a ? b : a));
  const most = (values: bigint[]): bigint => values.reduce((a, b) => (b > a ? b : a));
  return { minStartNano: least(starts), maxStartNano: most(starts), maxEndNano: most(ends) };
}

/** One partition's head, pinned. */
export function headShard(
  specs: readonly SpanSpec[],
  place: { partition: Shard["partition"]; appId: string; toOffset: number },
): PinnedHead {
  return headShardOf(headOf(specs), place);
}

/** The same of a head. */
export function headShardOf(
  data: HeadData,
  place: { partition: Shard["partition"]; appId: string; toOffset: number },
): PinnedHead {
  const batch = batchOfHead(data);
  return {
    ...place,
    ...timesOfBatch(batch),
    name: `head ${place.appId}`,
    spans: batch.rows,
    sizeBytes: 0,
    mayHoldTraces: async (ids) => heldTraces(batch, ids),
    heldTraces: async ({ ids }) => ({ marks: heldTraces(batch, ids), inspectedBytes: 0 }),
    listTraces: async (request) => listTraces(batch, request),
    traceDetails: async (request) => ({
      traces: traceDetails(batch, request),
      inspectedBytes: 0,
    }),
    findTrace: async (traceId, _, bytesMax) => findTrace(batch, traceId, bytesMax),
    countTags: async (request) => countTags(batch, request),
  };
}

/** Heads and blocks that a test fills, and switches to break them. */
export class TestSpans implements LiveSpans, StoredSpans {
  readonly store: ObjectStore = new MemoryStore();
  heads: PinnedHead[] = [];
  blocks: StoredBlock[] = [];
  transactions: Map<string, number> = new Map();
  incomplete: string[] = [];
  aside: AsideSpans[] = [];
  failed: { path: string; message: string }[] = [];
  /** Thrown by `pin` and `snapshot` if set. */
  liveError: Error | undefined;
  storedError: Error | undefined;
  /** Thrown for each block whose index is asked, if set. */
  brokenIndex: Error | undefined;
  readonly #indexes = new Map<string, BlockIndex>();
  /** How many pins are not released. */
  pins = 0;
  /** Every call, in order, for tests of the order of things. */
  readonly calls: string[] = [];
  /** The row groups that were asked together, each time. */
  readonly jobs: string[][] = [];

  get both(): { live: LiveSpans; stored: StoredSpans } {
    return { live: this, stored: this };
  }

  async pin(): Promise<PinnedHeads> {
    this.calls.push("pin");
    if (this.liveError !== undefined) throw this.liveError;
    this.pins++;
    const release = (): void => {
      this.pins--;
    };
    const { incomplete, aside } = this;
    return { heads: [...this.heads], tableVersion: 7, incomplete, aside, release };
  }

  async snapshot(_tenant: string, minVersion: number): Promise<StoredSnapshot> {
    this.calls.push(`snapshot ${minVersion}`);
    if (this.storedError !== undefined) throw this.storedError;
    const { blocks, failed, transactions } = this;
    return { version: 7, blocks, failed, transactions };
  }

  async askShards<K extends keyof ShardQuestions>(
    question: K,
    asks: readonly ShardAsk<K>[],
  ): Promise<Outcomes<ShardQuestions[K]["answer"]>> {
    this.jobs.push(asks.map(({ shard }) => shard.name));
    const outcomes: Outcome<ShardQuestions[K]["answer"]>[] = [];
    let inspectedBytes = 0;
    for (const ask of asks) {
      try {
        const answer = await askShard(question, ask, new AbortController().signal);
        inspectedBytes += answer.inspectedBytes;
        outcomes.push({ answer: { ...answer, inspectedBytes: 0 } });
      } catch (error) {
        outcomes.push({ error: toSpoorError(error) });
      }
    }
    return { outcomes, inspectedBytes };
  }

  async indexedTags(blocks: readonly StoredBlock[], request: TagsRequest): Promise<IndexedTags> {
    this.calls.push(`indexedTags of ${blocks.length}`);
    const counter = new TagCounter(request.bytesMax);
    const unread: IndexedTags["unread"] = [];
    const failed: IndexedTags["failed"] = [];
    for (const block of blocks) {
      const index = this.#indexes.get(block.path)!;
      const groups = block.shards.flatMap((shard, i) => (overlaps(shard, request) ? [i] : []));
      const asked = groups.length === block.shards.length ? undefined : groups;
      try {
        if (this.brokenIndex !== undefined) throw this.brokenIndex;
        const found = await tagsOfIndex(index, asked, request);
        counter.addCounts(found.counts);
        for (const { rowGroup, question } of found.unread) {
          unread.push({ shard: block.shards[rowGroup], question });
        }
      } catch (error) {
        failed.push({ path: block.path, error: toSpoorError(error) });
      }
    }
    return { ...counter.counts(), inspectedSpans: 0, inspectedBytes: 0, unread, failed };
  }

  async addBlock(
    name: string,
    specs: readonly SpanSpec[],
    { partition, rowGroupSpans }: { partition: Shard["partition"]; rowGroupSpans: number },
  ): Promise<StoredBlock> {
    return await this.addBlockOf(name, headOf(specs), { partition, rowGroupSpans });
  }

  async addBlockOf(
    name: string,
    head: HeadData,
    { partition, rowGroupSpans }: { partition: Shard["partition"]; rowGroupSpans: number },
  ): Promise<StoredBlock> {
    const path = `blocks/2023/11/14/${name}.parquet`;
    const file = await putBlock(this.store, { tenant, path, head, partition, rowGroupSpans });
    const tags = parseBlockTags(file);
    const reader = await openBlock({
      store: this.store,
      key: `${tenant}/${path}`,
      sizeBytes: file.sizeBytes,
      indexOffset: tags.indexOffset,
    });
    this.#indexes.set(path, reader.index);
    const block = inlineBlock(path, file.sizeBytes, { reader, tags });
    this.blocks.push(block);
    return block;
  }
}

interface OpenBlock {
  reader: BlockReader;
  tags: BlockTags;
}

/** A block that is read in this thread. */
export function inlineBlock(
  path: string,
  sizeBytes: number,
  { reader, tags }: OpenBlock,
): StoredBlock {
  const tagBlock = { index: reader.index, reader: async () => reader };
  const shards = tags.rowGroups.map((times, rowGroup): Shard => {
    return {
      name: `block ${path} row group ${rowGroup}`,
      disjoint: path,
      partition: tags.partition,
      minStartNano: times.minStartNano,
      maxStartNano: times.maxStartNano,
      maxEndNano: times.maxEndNano,
      spans: times.rows,
      sizeBytes: Math.ceil((sizeBytes * times.rows) / tags.spans),
      mayHoldTraces: async (ids) => mayHoldEach(ids, tags),
      heldTraces: ({ ids }) => heldInRowGroup(reader, rowGroup, ids),
      listTraces: (request) => listRowGroup(reader, rowGroup, request),
      traceDetails: (request) => detailsOfRowGroup(reader, rowGroup, request),
      findTrace: (traceId, _, bytesMax) => findInRowGroups(reader, { rowGroup, traceId, bytesMax }),
      countTags: (request) => countRowGroupTags(tagBlock, rowGroup, request),
    };
  });
  return {
    path,
    sizeBytes,
    partition: tags.partition,
    minStartNano: shards.map((shard) => shard.minStartNano).reduce((a, b) => (b < a ? b : a)),
    maxEndNano: shards.map((shard) => shard.maxEndNano).reduce((a, b) => (b > a ? b : a)),
    shards,
    mayHoldTrace: async (traceId) => mayHold(traceId, tags),
    findTrace: async (traceId, signal) => {
      const pieces: Uint8Array[] = [];
      for (const shard of shards) {
        const piece = await shard.findTrace(traceId, signal);
        if (piece !== undefined) pieces.push(piece);
      }
      return pieces.length === 0 ? undefined : Buffer.concat(pieces);
    },
  };
}

function mayHold(traceId: Uint8Array, { partition }: BlockTags): boolean {
  return partitionOf(traceId, 0, partition.count) === partition.index;
}

function mayHoldEach(ids: Uint8Array, tags: BlockTags): Uint8Array {
  return Uint8Array.from({ length: ids.length / 16 }, (_, i) =>
    mayHold(ids.subarray(i * 16, i * 16 + 16), tags) ? 1 : 0,
  );
}

/** A shard or block whose reads all fail. */
export function broken<T extends Shard | StoredBlock>(what: T, error: Error): T {
  const fail = async (): Promise<never> => {
    throw error;
  };
  if (!("shards" in what)) {
    const questions = { listTraces: fail, traceDetails: fail, heldTraces: fail, countTags: fail };
    return { ...what, ...questions, findTrace: fail };
  }
  const shards = what.shards.map((shard) => broken(shard, error));
  return { ...what, shards, findTrace: fail };
}
