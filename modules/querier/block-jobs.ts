/**
 * What a worker thread does with blocks: opens them, keeps a bounded number of them open, and
 * answers one job at a time from their columns. Jobs and answers are plain data.
 */
import type {
  DetailsAnswer,
  ListTracesRequest,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/query.ts";
import type { TagCounts, TagsRequest } from "#pkg/api/tags.ts";
import { blockError } from "#pkg/block/block-index.ts";
import { countRowGroupTags } from "#pkg/engine/block-tags.ts";
import {
  detailsOfRowGroup,
  findInRowGroups,
  listRowGroup,
  mayHoldMatch,
  prunedTraces,
} from "#pkg/engine/row-group.ts";
import { Arena } from "#pkg/bytes/arena.ts";
import { hasCode, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { storeName } from "#pkg/objstore/store-config.ts";
import { type StoreOpener, ThreadStores } from "#pkg/objstore/thread-stores.ts";
import type { BlockJobBase } from "./block-place.ts";
import { type OpenBlock, OpenBlocks, type OpenBlocksOptions } from "./open-blocks.ts";
import { runTagIndexJob, type TagIndexAnswer, type TagIndexJob } from "./tag-index-job.ts";

export interface ListJob extends BlockJobBase {
  kind: "list";
  rowGroup: number;
  request: ListTracesRequest;
}

export interface DetailsJob extends BlockJobBase {
  kind: "details";
  rowGroup: number;
  request: TraceDetailsRequest;
}

export interface FindJob extends BlockJobBase {
  kind: "find";
  /** Undefined: all row groups of the block. */
  rowGroup: number | undefined;
  /** 16 bytes. */
  traceId: Uint8Array;
}

export interface CountTagsJob extends BlockJobBase {
  kind: "countTags";
  rowGroup: number;
  request: TagsRequest;
}

/** A job about one block. */
type OneBlockJob = ListJob | DetailsJob | FindJob | CountTagsJob;

export type BlockJob = OneBlockJob | TagIndexJob;

/** The answer of each kind of job. */
export interface BlockJobAnswers {
  list: TraceList;
  details: DetailsAnswer;
  /** Protobuf TracesData. */
  find: Uint8Array | undefined;
  countTags: TagCounts;
  tagIndex: TagIndexAnswer;
}

export type BlockJobAnswer = BlockJobAnswers[BlockJob["kind"]];

export class BlockJobs {
  readonly #stores: StoreOpener;
  readonly #blocks: OpenBlocks;
  /** For columns, from one job to the next. */
  readonly #arena = new Arena();
  #readBytes = 0;

  constructor(options: OpenBlocksOptions, stores: StoreOpener = new ThreadStores()) {
    this.#stores = stores;
    this.#blocks = new OpenBlocks(options);
  }

  /** One job at a time. Throws Corrupt naming the block, NotFound, or what the store throws. */
  async run(job: BlockJob): Promise<BlockJobAnswer> {
    const before = this.#readBytes;
    this.#arena.reset();
    const answer = await this.#answer(job);
    if (answer === undefined || answer instanceof Uint8Array) return answer;
    return { ...answer, inspectedBytes: this.#readBytes - before };
  }

  async #answer(job: BlockJob): Promise<BlockJobAnswer> {
    if (job.kind === "tagIndex") {
      return await runTagIndexJob(job, (place, use) => this.#with(place, false, use));
    }
    return await this.#with(job, !isIndexFirst(job), async (block) => {
      switch (job.kind) {
        case "list":
          return await listTraces(block, job, this.#arena);
        case "details":
          return await detailsOfRowGroup(
            await block.reader(),
            job.rowGroup,
            job.request,
            this.#arena,
          );
        case "countTags":
          return await countRowGroupTags(
            { index: block.index, reader: () => block.reader() },
            job.rowGroup,
            job.request,
          );
        default:
          return await findInRowGroups(await block.reader(), job.rowGroup, job.traceId);
      }
    });
  }

  /** Closes all blocks. */
  close(): void {
    this.#blocks.close();
  }

  /** What is corrupt may be a cache of the bucket: then the bucket itself is asked, once. */
  async #with<T>(
    place: BlockJobBase,
    withFooter: boolean,
    use: (block: OpenBlock) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.#use(place, { withFooter, isFresh: false }, use);
    } catch (error) {
      if (place.store.kind === "fs" || !hasCode(error, "Corrupt")) throw error;
      return await this.#use(place, { withFooter, isFresh: true }, use);
    }
  }

  async #use<T>(
    place: BlockJobBase,
    { withFooter, isFresh }: { withFooter: boolean; isFresh: boolean },
    use: (block: OpenBlock) => Promise<T>,
  ): Promise<T> {
    const key = `${storeName(place.store)}\n${place.key}`;
    try {
      const store = this.#counted(await this.#stores.open(place.store), isFresh);
      const answer = await use(await this.#blocks.get(key, { ...place, store }, withFooter));
      this.#blocks.used(key);
      // The next job may use caches again.
      if (isFresh) this.#blocks.drop(key);
      return answer;
    } catch (error) {
      if (error instanceof SpoorError && error.reason === "traceql_value") throw error;
      // What was open may be what is broken: the next job starts afresh.
      this.#blocks.drop(key);
      throw named(error, place.key);
    }
  }

  /** Counts the bytes that a job reads, those that opening its block takes among them. */
  #counted(store: ObjectStore, isFresh: boolean): Pick<ObjectStore, "getRange"> {
    return {
      getRange: async (key, start, end, options) => {
        const bytes = await store.getRange(key, start, end, { ...options, isFresh });
        this.#readBytes += bytes.length;
        return bytes;
      },
    };
  }
}

/** The tag index is asked before rows: often nothing else is read. */
function isIndexFirst(job: OneBlockJob): boolean {
  return job.kind === "countTags" || (job.kind === "list" && job.request.filter !== undefined);
}

/** An error that names its block. */
function named(error: unknown, key: string): unknown {
  if (error instanceof SpoorError) return blockError(error, key);
  const { message } = toSpoorError(error);
  return new SpoorError("Internal", `read block ${key}: ${message}`, { cause: error });
}

async function listTraces(
  block: OpenBlock,
  { rowGroup, request }: ListJob,
  arena: Arena,
): Promise<TraceList> {
  const { filter } = request;
  const isPossible = filter === undefined || (await mayHoldMatch(block.index, rowGroup, filter));
  if (!isPossible) return prunedTraces;
  return await listRowGroup(await block.reader(), rowGroup, request, arena);
}
