/**
 * Runs jobs over blocks on a worker thread, one at a time. It opens blocks and keeps a bounded
 * number of them open. Jobs and answers are plain data.
 */
import { Arena } from "#pkg/bytes/bytes.ts";
import { blockError } from "#pkg/block/block.ts";
import type { FilterTools } from "#pkg/engine/engine.ts";
import { hasCode, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import {
  type ObjectStore,
  storeName,
  type StoreOpener,
  ThreadStores,
} from "#pkg/objstore/objstore.ts";
import { type QuestionName, requestPreparer } from "#pkg/questions/questions.ts";
import type { StopMark } from "#pkg/threads/threads.ts";
import { RegexCache } from "#pkg/traceql/regex.ts";
import type { BlockJobBase } from "./block-place.ts";
import { type OpenBlock, OpenBlocks, type OpenBlocksOptions } from "./open-blocks.ts";
import {
  runShardsJob,
  type ShardsAnswer,
  type ShardsJob,
  type WithRowGroups,
} from "./shards-job.ts";
import { runTagIndexJob, type TagIndexAnswer, type TagIndexJob } from "./tag-index-job.ts";

export type BlockJob = TagIndexJob | ShardsJob;

interface ReadBytes {
  /** Bytes read from the store for the job, including those to open blocks. */
  readBytes: number;
}

/** The answer of each kind of job. */
export type BlockJobAnswers = Record<QuestionName, ShardsAnswer & ReadBytes> & {
  tagIndex: TagIndexAnswer & ReadBytes;
};

export type BlockJobAnswer = BlockJobAnswers[BlockJob["kind"]];

const neverAborted: AbortSignal = new AbortController().signal;

export class BlockJobs {
  readonly #stores: StoreOpener;
  readonly #blocks: OpenBlocks;
  /** Memory for columns, reused by each job. */
  readonly #arena = new Arena();
  readonly #regexes = new RegexCache();
  #readBytes = 0;
  #signal: AbortSignal = neverAborted;

  constructor(options: OpenBlocksOptions, stores: StoreOpener = new ThreadStores()) {
    this.#stores = stores;
    this.#blocks = new OpenBlocks(options);
  }

  /** WASM memory of this thread, bytes; it never shrinks. */
  get wasmBytes(): number {
    return this.#blocks.wasmBytes;
  }

  /**
   * Runs one job; the caller must await it before the next. Throws Corrupt naming the block,
   * NotFound, Canceled once `stop` is set, or what the store throws.
   */
  async run(job: BlockJob, stop: StopMark): Promise<BlockJobAnswer> {
    const before = this.#readBytes;
    this.#arena.reset();
    const answer = await stop.during(async (signal) => {
      this.#signal = signal;
      return await this.#answer(job, { regexes: this.#regexes, isStopped: () => stop.isSet });
    });
    return { ...answer, readBytes: this.#readBytes - before };
  }

  async #answer(job: BlockJob, tools: FilterTools): Promise<ShardsAnswer | TagIndexAnswer> {
    if (job.kind === "tagIndex") {
      return await runTagIndexJob(job, (place, use) => this.#with(place, false, use));
    }
    const prepare = requestPreparer(tools);
    const items = job.items.map((item) => ({ ...item, request: prepare(item.request) }));
    const withRowGroups: WithRowGroups = (...args) => this.#with(...args);
    return await runShardsJob({ ...job, items }, withRowGroups, this.#arena);
  }

  /** Closes all blocks. */
  close(): void {
    this.#blocks.close();
  }

  /** Uses a block. If it is corrupt, retries once past the caches, which may be damaged instead. */
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
      const answer = await this.#blocks.use(key, { ...place, store }, { withFooter, use });
      // The next job may use caches again.
      if (isFresh) this.#blocks.drop(key);
      return answer;
    } catch (error) {
      if (error instanceof SpoorError && error.reason === "traceql_value") throw error;
      // The open block itself may be damaged: the next job opens it again.
      this.#blocks.drop(key);
      throw named(error, place.key);
    }
  }

  /** Counts the bytes that a job reads, including those to open its block. */
  #counted(store: ObjectStore, isFresh: boolean): Pick<ObjectStore, "getRange"> {
    return {
      getRange: async (key, start, end, options) => {
        const bytes = await store.getRange(key, start, end, {
          // The signal of the running job, not of the job that opened the block.
          signal: this.#signal,
          ...options,
          isFresh,
        });
        this.#readBytes += bytes.length;
        return bytes;
      },
    };
  }
}

/** Returns the error with the block's key in its message. */
function named(error: unknown, key: string): unknown {
  if (error instanceof SpoorError) return blockError(error, key);
  const { message } = toSpoorError(error);
  return new SpoorError("Internal", `read block ${key}: ${message}`, { cause: error });
}
