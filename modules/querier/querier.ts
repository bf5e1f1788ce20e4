/**
 * The querier: answers questions of the frontend about a tenant's blocks. It takes snapshots of the
 * table, tests bloom filters on the main thread, and reads blocks on disposable worker threads
 * (README.md).
 */
import { LRUCache } from "lru-cache";
import type { Registry } from "prom-client";
import type { TagsRequest } from "#pkg/api/api.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import type { ObjectStore, StoreConfig } from "#pkg/objstore/objstore.ts";
import type {
  AnswerOf,
  BlockRef,
  FailedBlock,
  IndexedTags,
  Outcomes,
  QuestionName,
  ShardAsk,
  StoredBlock,
  StoredSnapshot,
  StoredSpans,
} from "#pkg/questions/questions.ts";
import type { BlockFile, Snapshot, Table } from "#pkg/table/table.ts";
import { askShards } from "./ask-shards.ts";
import type { QuerierConfig } from "./config.ts";
import type { WorkerOptions } from "./block-worker.ts";
import { JobPool, type StartPool } from "./job-pool.ts";
import { type QuerierMetrics, querierMetrics } from "./metrics.ts";
import {
  type BlockContext,
  checkedBlock,
  itemOf,
  keyOf,
  noteMismatch,
  noteMismatches,
  placeOf,
} from "./stored-block.ts";
import { indexedTags } from "./stored-tags.ts";
import { TraceBlooms } from "./trace-blooms.ts";

export interface QuerierOptions {
  config: QuerierConfig;
  /** The store of bloom filters, which are read on this thread. */
  store: ObjectStore;
  /** How worker threads open the same store. */
  storeConfig: StoreConfig;
  /** Returns a tenant's table. Ingester and querier of one process share their tables. */
  tableOf: (tenant: string) => Table;
  clock: Clock;
  log: Log;
  registry: Registry;
  /** Starts the pool of worker threads that read blocks; piscina unless given. */
  startPool?: StartPool;
}

/** Largest number of remembered blocks whose commit describes them wrongly. */
const mismatchedMax = 10_000;

type ParsedBlock = { block: StoredBlock } | { failed: FailedBlock };

export class Querier implements StoredSpans {
  readonly #options: QuerierOptions;
  readonly #metrics: QuerierMetrics;
  readonly #pool: JobPool;
  readonly #context: BlockContext;
  /** Successive snapshots share the BlockFile objects of common blocks. */
  readonly #parsed = new WeakMap<BlockFile, ParsedBlock>();
  readonly #refreshedMs = new WeakMap<Table, number>();

  constructor(options: QuerierOptions) {
    const { config, store, storeConfig, log } = options;
    this.#options = options;
    this.#metrics = querierMetrics(options.registry);
    const metrics = this.#metrics;
    const workerOptions: WorkerOptions = {
      openBlocksMax: config.openBlocksMax,
      openBlockBytes: config.openBlockBytes,
      memoryBytesMax: config.threadMemoryBytesMax,
    };
    this.#pool = new JobPool({
      threads: config.threads,
      spareThreads: config.spareThreads,
      nowMs: () => options.clock.monotonicMs(),
      queuedMax: config.jobsQueuedMax,
      jobTimeoutMs: config.jobTimeoutMs,
      entry: new URL("./block-worker.ts", import.meta.url),
      workerData: workerOptions,
      startPool: options.startPool,
      metrics,
      log,
    });
    const blooms = new TraceBlooms({ store, cacheBytes: config.bloomCacheBytes, metrics, log });
    const mismatched = new LRUCache<string, string>({ max: mismatchedMax });
    this.#context = { store: storeConfig, pool: this.#pool, metrics, blooms, mismatched };
  }

  /** Ends the worker threads; questions in flight fail with Unavailable. */
  async stop(): Promise<void> {
    await this.#pool.close();
  }

  async snapshot(tenant: string, minVersion: number, signal: AbortSignal): Promise<StoredSnapshot> {
    const table = this.#options.tableOf(tenant);
    const snapshot = await this.#refreshed(table, minVersion, signal);
    const blocks: StoredBlock[] = [];
    const failed: FailedBlock[] = [];
    for (const file of snapshot.files.values()) {
      const parsed = this.#parse(tenant, file);
      const message = this.#context.mismatched.get(`${tenant}/${file.path}`);
      if (message !== undefined) failed.push({ path: file.path, message });
      else if ("block" in parsed) blocks.push(parsed.block);
      else failed.push(parsed.failed);
    }
    return { version: snapshot.version, blocks, failed, transactions: snapshot.transactions };
  }

  async ask<K extends QuestionName>(
    question: K,
    asks: readonly ShardAsk<K>[],
    signal: AbortSignal,
  ): Promise<Outcomes<AnswerOf<K>>> {
    const items = asks.map((ask) => itemOf(this.#context.store, ask));
    const asked = await askShards(this.#context, question, items, signal);
    noteMismatches(this.#context, items, asked.outcomes);
    return asked;
  }

  async mayHold(block: BlockRef, ids: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    return await this.#context.blooms.mayHold(keyOf(block), block.bloom, ids, signal);
  }

  async indexedTags(
    blocks: readonly StoredBlock[],
    request: TagsRequest,
    signal: AbortSignal,
  ): Promise<IndexedTags> {
    const placed = blocks.map((block) => ({
      block,
      place: placeOf(this.#context.store, block.ref),
    }));
    const found = await indexedTags(this.#pool, placed, request, signal);
    for (const { path, error } of found.failed) {
      const place = placed.find(({ block }) => block.path === path)?.place;
      if (place !== undefined) noteMismatch(this.#context, place.key, error);
    }
    return found;
  }

  /** Returns a snapshot at most `snapshotAgeMaxMs` old, since other processes commit too. */
  async #refreshed(table: Table, minVersion: number, signal: AbortSignal): Promise<Snapshot> {
    const { clock, config } = this.#options;
    const nowMs = clock.monotonicMs();
    const ageMs = nowMs - (this.#refreshedMs.get(table) ?? Number.NEGATIVE_INFINITY);
    const isFresh = ageMs < config.snapshotAgeMaxMs;
    if (isFresh) return await table.refresh({ minVersion, signal });
    await table.refresh({ signal });
    this.#refreshedMs.set(table, nowMs);
    return await table.refresh({ minVersion, signal });
  }

  #parse(tenant: string, file: BlockFile): ParsedBlock {
    const known = this.#parsed.get(file);
    if (known !== undefined) return known;
    const parsed = this.#tryParse(tenant, file);
    this.#parsed.set(file, parsed);
    return parsed;
  }

  #tryParse(tenant: string, file: BlockFile): ParsedBlock {
    try {
      return { block: checkedBlock(tenant, file) };
    } catch (error) {
      const { message, code, reason } = toSpoorError(error);
      this.#metrics.failedBlocks.inc({ reason });
      this.#options.log.error({ tenant, block: file.path, code, error: message }, "block unusable");
      return { failed: { path: file.path, message } };
    }
  }
}
export type { StartPool } from "./job-pool.ts";
