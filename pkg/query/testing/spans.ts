/**
 * Test support: live and stored spans for the frontend, from real heads and real blocks, read in
 * the calling thread. The real ingester and querier read theirs on worker threads.
 */
import type { TagsRequest } from "#pkg/api/tags.ts";
import { type BlockTags, parseBlockTags } from "#pkg/block/block-file.ts";
import { type BlockReader, openBlock } from "#pkg/block/reader.ts";
import type { ColumnBatch } from "#pkg/columns/column-batch.ts";
import type { HeadData } from "#pkg/columns/head.ts";
import { tagsOfIndex } from "#pkg/engine/tags/block-tags.ts";
import { SpanTimes } from "#pkg/engine/trace/span-times.ts";
import { TagCounter } from "#pkg/engine/tags/tag-counter.ts";
import { batchOfHead, headOf, putBlock, type SpanSpec } from "#pkg/engine/testing/spans.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import {
  type Answered,
  type AnswerOf,
  type QuestionName,
  questionOf,
} from "#pkg/questions/question-table.ts";
import type {
  AsideSpans,
  BlockRef,
  HeadRef,
  IndexedTags,
  LiveSpans,
  Outcome,
  Outcomes,
  Partition,
  PinnedHeads,
  ShardAsk,
  ShardRef,
  StoredBlock,
  StoredSnapshot,
  StoredSpans,
} from "#pkg/questions/shards.ts";
import { storedBlock } from "#pkg/questions/stored-block.ts";
import { overlaps } from "#pkg/query/view.ts";

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

/** The partition of a head, and its position in the log. */
interface HeadPlace {
  partition: Partition;
  appId: string;
  toOffset: number;
}

/** A head that is not pinned yet. */
export interface TestHead extends Omit<HeadRef, "pin"> {
  batch: ColumnBatch;
}

/** Returns the head of one partition. */
export function headShard(specs: readonly SpanSpec[], place: HeadPlace): TestHead {
  return headShardOf(headOf(specs), place);
}

/** As `headShard`, from the data of a head. */
export function headShardOf(data: HeadData, place: HeadPlace): TestHead {
  const batch = batchOfHead(data);
  return {
    ...place,
    ...timesOfBatch(batch),
    kind: "head",
    tenant,
    name: `head ${place.appId}`,
    spans: batch.rows,
    sizeBytes: 0,
    batch,
  };
}

/** Heads and blocks filled by a test, with switches that make them fail. */
export class TestSpans implements LiveSpans, StoredSpans {
  readonly store: ObjectStore = new MemoryStore();
  heads: TestHead[] = [];
  blocks: StoredBlock[] = [];
  transactions: Map<string, number> = new Map();
  incomplete: string[] = [];
  aside: AsideSpans[] = [];
  failed: { path: string; message: string }[] = [];
  /** Thrown by `pin` and `snapshot` if set. */
  liveError: Error | undefined;
  storedError: Error | undefined;
  /** Thrown for each block whose index is read, if set. */
  brokenIndex: Error | undefined;
  /** Errors of blocks by path, and of shards by name. */
  readonly broken: Map<string, Error> = new Map();
  /** Called before each request to a shard; an error that it throws fails the shard. */
  onAsk: (question: QuestionName, shard: ShardRef) => void = () => undefined;
  /** Columns of heads by their pins. */
  readonly #batches = new Map<number, ColumnBatch[]>();
  #nextPinId = 0;
  /** Readers of blocks by path. */
  readonly #readers = new Map<string, BlockReader>();
  /** Pins that are not released. */
  pins = 0;
  /** Every call in order, for tests that assert the order. */
  readonly calls: string[] = [];
  /** The row groups of each job. */
  readonly jobs: string[][] = [];

  get both(): { live: LiveSpans; stored: StoredSpans } {
    return { live: this, stored: this };
  }

  async pin(): Promise<PinnedHeads> {
    this.calls.push("pin");
    if (this.liveError !== undefined) throw this.liveError;
    this.pins++;
    const pinId = this.#nextPinId++;
    this.#batches.set(
      pinId,
      this.heads.map(({ batch }) => batch),
    );
    const heads = this.heads.map(({ batch: _batch, ...head }, headId): HeadRef => {
      return { ...head, pin: { worker: "test", pinId, headId } };
    });
    const release = (): void => {
      this.pins--;
      this.#batches.delete(pinId);
    };
    const { incomplete, aside } = this;
    return { heads, tableVersion: 7, incomplete, aside, release };
  }

  async snapshot(_tenant: string, minVersion: number): Promise<StoredSnapshot> {
    this.calls.push(`snapshot ${minVersion}`);
    if (this.storedError !== undefined) throw this.storedError;
    const { blocks, failed, transactions } = this;
    return { version: 7, blocks, failed, transactions };
  }

  async ask<K extends QuestionName>(
    question: K,
    asks: readonly ShardAsk<K>[],
  ): Promise<Outcomes<AnswerOf<K>>> {
    if (asks[0].shard.kind === "rowGroup") this.jobs.push(asks.map(({ shard }) => shard.name));
    const outcomes: Outcome<AnswerOf<K>>[] = [];
    const before = this.#readBytes();
    for (const ask of asks) {
      try {
        this.onAsk(question, ask.shard);
        outcomes.push(await this.#answer(question, ask));
      } catch (error) {
        outcomes.push({ error: toSpoorError(error) });
      }
    }
    return { outcomes, readBytes: this.#readBytes() - before, tookMs: 0 };
  }

  #readBytes(): number {
    return this.#readers.values().reduce((sum, { readBytes }) => sum + readBytes, 0);
  }

  async #answer<K extends QuestionName>(
    question: K,
    { shard, request }: ShardAsk<K>,
  ): Promise<Answered<AnswerOf<K>>> {
    const { overHead, overRowGroup } = questionOf(question);
    const path = shard.kind === "head" ? "" : shard.block.path;
    const error = this.broken.get(shard.name) ?? this.broken.get(path);
    if (error !== undefined) throw error;
    if (shard.kind === "head") {
      const batch = this.#batches.get(shard.pin.pinId)![shard.pin.headId];
      const { minStartNano, maxStartNano } = shard;
      return { answer: overHead({ batch, minStartNano, maxStartNano }, request) };
    }
    const reader = this.#readers.get(path)!;
    const { rowGroup } = shard;
    return await overRowGroup(
      { index: reader.index, reader: async () => reader, rowGroup },
      request,
    );
  }

  async mayHold({ partition }: BlockRef, ids: Uint8Array): Promise<Uint8Array> {
    const { index, count } = partition;
    return Uint8Array.from({ length: ids.length / 16 }, (_, i) =>
      partitionOf(ids, i * 16, count) === index ? 1 : 0,
    );
  }

  async indexedTags(blocks: readonly StoredBlock[], request: TagsRequest): Promise<IndexedTags> {
    this.calls.push(`indexedTags of ${blocks.length}`);
    const counter = new TagCounter(request.bytesMax);
    const unread: IndexedTags["unread"] = [];
    const failed: IndexedTags["failed"] = [];
    for (const block of blocks) {
      const { index } = this.#readers.get(block.path)!;
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
    return { ...counter.counts(), inspectedSpans: 0, readBytes: 0, unread, failed };
  }

  async addBlock(
    name: string,
    specs: readonly SpanSpec[],
    { partition, rowGroupSpans }: { partition: Partition; rowGroupSpans: number },
  ): Promise<StoredBlock> {
    return await this.addBlockOf(name, headOf(specs), { partition, rowGroupSpans });
  }

  async addBlockOf(
    name: string,
    head: HeadData,
    { partition, rowGroupSpans }: { partition: Partition; rowGroupSpans: number },
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
    return this.addOpened(path, file.sizeBytes, { reader, tags });
  }

  /** Adds an open block. */
  addOpened(path: string, sizeBytes: number, { reader, tags }: OpenBlock): StoredBlock {
    const block = storedBlock(tenant, { path, sizeBytes }, tags);
    this.#readers.set(path, reader);
    this.blocks.push(block);
    return block;
  }
}

interface OpenBlock {
  reader: BlockReader;
  tags: BlockTags;
}
