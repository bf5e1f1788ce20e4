/**
 * What a worker thread does with blocks: opens them, keeps a bounded number of them open, and
 * answers one job at a time from their columns. Jobs and answers are plain data.
 */
import { LRUCache } from "lru-cache";
import type {
  DetailsAnswer,
  ListTracesRequest,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/query.ts";
import { blockError, type BlockReader, openBlock } from "#pkg/block/reader.ts";
import { detailsOfRowGroup, findInRowGroups, listRowGroup } from "#pkg/engine/row-group.ts";
import { hasCode, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { type StoreConfig, storeName } from "#pkg/objstore/store-config.ts";
import { ThreadStores } from "#pkg/objstore/thread-stores.ts";

interface BlockJobBase {
  /** Where the block is, and its place in the store. */
  store: StoreConfig;
  key: string;
  sizeBytes: number;
  indexOffset: number;
}

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

export type BlockJob = ListJob | DetailsJob | FindJob;

/** The answer of each kind of job. */
export interface BlockJobAnswers {
  list: TraceList;
  details: DetailsAnswer;
  /** Protobuf TracesData. */
  find: Uint8Array | undefined;
}

export type BlockJobAnswer = BlockJobAnswers[BlockJob["kind"]];

export interface BlockJobsOptions {
  openBlocksMax: number;
  /** For their index sections and footers; the block in use is kept whatever its size. */
  openBlockBytes: number;
}

export class BlockJobs {
  readonly #stores = new ThreadStores();
  readonly #open: LRUCache<string, BlockReader>;
  #readBytes = 0;

  constructor({ openBlocksMax, openBlockBytes }: BlockJobsOptions) {
    this.#open = new LRUCache({
      max: openBlocksMax,
      maxSize: openBlockBytes,
      sizeCalculation: ({ tailBytes }) => Math.min(tailBytes, openBlockBytes),
      dispose: (reader) => {
        reader.close();
      },
    });
  }

  /**
   * One job at a time. Throws Corrupt naming the block, NotFound, or what the store throws. What is
   * corrupt may be a cache of the bucket: then the bucket itself is asked, once.
   */
  async run(job: BlockJob): Promise<BlockJobAnswer> {
    try {
      return await this.#run(job, false);
    } catch (error) {
      if (job.store.kind === "fs" || !hasCode(error, "Corrupt")) throw error;
      return await this.#run(job, true);
    }
  }

  async #run(job: BlockJob, isFresh: boolean): Promise<BlockJobAnswer> {
    const before = this.#readBytes;
    const reader = await this.#reader(job, isFresh);
    try {
      switch (job.kind) {
        case "list": {
          const list = await listRowGroup(reader, job.rowGroup, job.request);
          return { ...list, inspectedBytes: this.#readBytes - before };
        }
        case "details": {
          const details = await detailsOfRowGroup(reader, job.rowGroup, job.request);
          return { ...details, inspectedBytes: this.#readBytes - before };
        }
        default:
          return await findInRowGroups(reader, job.rowGroup, job.traceId);
      }
    } catch (error) {
      if (error instanceof SpoorError && error.reason === "traceql_value") throw error;
      // What was open may be what is broken: the next job starts afresh.
      this.#open.delete(readerKey(job));
      throw named(error, job.key);
    }
  }

  /** Closes all blocks. */
  close(): void {
    this.#open.clear();
  }

  async #reader(job: BlockJob, isFresh: boolean): Promise<BlockReader> {
    const known = this.#open.get(readerKey(job));
    if (known !== undefined) return known;
    const { key, sizeBytes, indexOffset } = job;
    const store = this.#counted(await this.#stores.open(job.store), isFresh);
    const reader = await openBlock({ store, key, sizeBytes, indexOffset });
    this.#open.set(readerKey(job), reader);
    return reader;
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

/** An error that names its block. */
function named(error: unknown, key: string): unknown {
  if (error instanceof SpoorError) return blockError(error, key);
  const { message } = toSpoorError(error);
  return new SpoorError("Internal", `read block ${key}: ${message}`, { cause: error });
}

function readerKey({ store, key }: BlockJob): string {
  return `${storeName(store)}\n${key}`;
}
