/**
 * Finds names and values of tags. Without a filter, the tag indexes of blocks are read, several
 * blocks per job; a row group is read only if its index does not list all values. With a filter,
 * every head and row group of the range counts the tags of its matching spans.
 */
import type { TagCounts, TagQuestion, TagsRequest, TimeRange } from "#pkg/api/api.ts";
import { TagCounter, type TagValue } from "#pkg/engine/engine.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { IndexedTags, ShardAsk, ShardRef, StoredBlock } from "#pkg/questions/questions.ts";
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import { askJob, type JobBounds, jobsOf } from "./shard-jobs.ts";
import { failureOf } from "./trace-by-id.ts";
import {
  type Failure,
  forEachBounded,
  openView,
  overlaps,
  type Spans,
  isQueryFault,
  throwIfEnded,
  type View,
} from "./view.ts";

export interface TagsQuery extends TimeRange {
  tenant: string;
  question: TagQuestion;
  /** A condition on single spans. */
  filter?: FieldExpr;
  signal: AbortSignal;
}

export interface TagsOptions extends JobBounds {
  /** Heads, and jobs of row groups or of blocks, asked at a time. */
  concurrency: number;
  /** Memory for distinct names or values, bytes. */
  memoryBytesMax: number;
}

export interface TagsStats {
  inspectedBytes: number;
  inspectedSpans: number;
  totalBlocks: number;
  totalBlockBytes: number;
  /** Heads, blocks, and row groups that were read because their index was not enough. */
  totalJobs: number;
  completedJobs: number;
}

export interface TagsResult {
  /** Most frequent first, then by text. */
  values: TagValue[];
  /** The values exceeded `memoryBytesMax`: rare ones are missing. */
  truncated: boolean;
  stats: TagsStats;
  /** What could not be read. */
  failures: Failure[];
  /** The table could not be read: all blocks are missing. */
  isStoredMissing: boolean;
}

/** Blocks whose indexes are read in one job. */
const blocksPerJob = 16;

/**
 * Returns names or values of tags with their counts. Throws Canceled or Timeout when the signal
 * aborts, and InvalidInput (`traceql_value`) if the filter cannot be evaluated over these spans.
 * All other errors are in `failures`.
 */
export async function findTags(
  spans: Spans,
  query: TagsQuery,
  options: TagsOptions,
): Promise<TagsResult> {
  const view = await openView(spans, { ...query, range: query });
  try {
    const blocks = view.blocks.filter((block) => overlaps(block, query));
    const run = new TagsRun(spans, query, options);
    await run.ask(view, blocks);
    return {
      values: run.counter.sorted(),
      truncated: run.counter.isTruncated,
      stats: {
        ...run.stats,
        totalBlocks: blocks.length,
        totalBlockBytes: blocks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        totalJobs: run.stats.totalJobs + view.failures.length,
      },
      failures: [...view.failures, ...run.failures],
      isStoredMissing: view.isStoredMissing,
    };
  } finally {
    view.release();
  }
}

type Work = () => Promise<void>;
type TagsAsk = ShardAsk<"countTags">;

class TagsRun {
  readonly counter: TagCounter;
  readonly failures: Failure[] = [];
  readonly stats = { inspectedBytes: 0, inspectedSpans: 0, totalJobs: 0, completedJobs: 0 };
  readonly #spans: Spans;
  readonly #query: TagsQuery;
  readonly #request: TagsRequest;
  readonly #concurrency: number;
  readonly #bounds: JobBounds;

  constructor(spans: Spans, query: TagsQuery, options: TagsOptions) {
    const { concurrency, memoryBytesMax } = options;
    const { question, startNano, endNano, filter } = query;
    this.counter = new TagCounter(memoryBytesMax);
    this.#spans = spans;
    this.#query = query;
    this.#request = { question, startNano, endNano, filter, bytesMax: memoryBytesMax };
    this.#concurrency = concurrency;
    this.#bounds = options;
  }

  async ask({ heads }: View, blocks: readonly StoredBlock[]): Promise<void> {
    const { filter } = this.#query;
    const shards: ShardRef[] = heads.filter((head) => overlaps(head, this.#query));
    const work: Work[] = [];
    /** Row groups whose index does not list all values. */
    const rest: TagsAsk[] = [];
    if (filter === undefined) {
      for (let from = 0; from < blocks.length; from += blocksPerJob) {
        const some = blocks.slice(from, from + blocksPerJob);
        work.push(() => this.#askIndexes(some, rest));
      }
    } else {
      const groups = blocks.flatMap((block) => block.shards);
      for (const shard of groups) if (overlaps(shard, this.#query)) shards.push(shard);
    }
    const asks = shards.map((shard) => ({ shard, request: this.#request }));
    for (const job of this.#jobsOf(asks)) work.push(job);
    const run = async (one: Work): Promise<void> => await one();
    await forEachBounded(work, this.#concurrency, run);
    await forEachBounded(this.#jobsOf(rest), this.#concurrency, run);
  }

  #jobsOf(asks: readonly TagsAsk[]): Work[] {
    this.stats.totalJobs += asks.length;
    return jobsOf(asks, this.#bounds).map((job) => () => this.#askShards(job));
  }

  async #askShards(asks: readonly TagsAsk[]): Promise<void> {
    try {
      const { signal } = this.#query;
      const { outcomes, readBytes } = await askJob(this.#spans, "countTags", asks, signal);
      this.stats.inspectedBytes += readBytes;
      asks.forEach(({ shard }, i) => {
        const outcome = outcomes[i];
        if ("error" in outcome) {
          this.#fail(outcome.error, shard.name);
          return;
        }
        this.#note(outcome.answer);
        this.stats.completedJobs++;
      });
    } catch (error) {
      for (const { shard } of asks) this.#fail(error, shard.name);
    }
  }

  async #askIndexes(blocks: readonly StoredBlock[], rest: TagsAsk[]): Promise<void> {
    this.stats.totalJobs += blocks.length;
    let found: IndexedTags;
    try {
      found = await this.#spans.stored.indexedTags(blocks, this.#request, this.#query.signal);
    } catch (error) {
      this.#fail(error, `${blocks.length} blocks from ${blocks[0].path} on`);
      return;
    }
    this.#note(found);
    this.stats.inspectedBytes += found.readBytes;
    this.stats.completedJobs += blocks.length - found.failed.length;
    for (const { path, error } of found.failed) this.#fail(error, `block ${path}`);
    for (const { shard, question } of found.unread) {
      rest.push({ shard, request: { ...this.#request, question } });
    }
  }

  #note(counts: TagCounts): void {
    this.counter.addCounts(counts);
    this.stats.inspectedSpans += counts.inspectedSpans;
  }

  #fail(error: unknown, name: string): void {
    throwIfEnded(this.#query.signal);
    // The query caused the error: it ends the query, not only this shard.
    if (error instanceof SpoorError && isQueryFault(error)) throw error;
    this.failures.push(failureOf(error, name));
  }
}
