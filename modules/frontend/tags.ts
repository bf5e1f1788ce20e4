/**
 * Finds names and values of tags. Without a filter, blocks answer from their tag indexes, several
 * per job; only row groups whose index does not list all values are read. With a filter, every head
 * and row group of the range is asked for its matching spans.
 */
import type { IndexedTags, Shard, StoredBlock, TimeRange } from "#pkg/api/query.ts";
import type { TagCounts, TagQuestion, TagsRequest } from "#pkg/api/tags.ts";
import { TagCounter, type TagValue } from "#pkg/engine/tag-counter.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
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

export interface TagsOptions {
  /** Shards, and groups of blocks, asked at a time. */
  concurrency: number;
  /** Memory for distinct names or values, bytes. */
  memoryBytesMax: number;
}

export interface TagsStats {
  inspectedBytes: number;
  inspectedSpans: number;
  totalBlocks: number;
  totalBlockBytes: number;
  /** Heads, blocks, and row groups that were asked beside their block. */
  totalJobs: number;
  completedJobs: number;
}

export interface TagsResult {
  /** Most frequent first, then by text. */
  values: TagValue[];
  /** There are more than memory was allowed for: the rarest are missing. */
  truncated: boolean;
  stats: TagsStats;
  /** What could not be read. */
  failures: Failure[];
  /** Nothing of the blocks could be read, not even which there are. */
  isStoredMissing: boolean;
}

/** Blocks whose indexes are read in one job. */
const blocksPerJob = 16;

/**
 * Throws Canceled or Timeout when the signal aborts, and InvalidInput (`traceql_value`) for a
 * filter that the spans make impossible; all else is in `failures`.
 */
export async function findTags(
  spans: Spans,
  query: TagsQuery,
  options: TagsOptions,
): Promise<TagsResult> {
  const view = await openView(spans, query.tenant, query.signal);
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

class TagsRun {
  readonly counter: TagCounter;
  readonly failures: Failure[] = [];
  readonly stats = { inspectedBytes: 0, inspectedSpans: 0, totalJobs: 0, completedJobs: 0 };
  readonly #spans: Spans;
  readonly #query: TagsQuery;
  readonly #request: TagsRequest;
  readonly #concurrency: number;

  constructor(spans: Spans, query: TagsQuery, { concurrency, memoryBytesMax }: TagsOptions) {
    const { question, startNano, endNano, filter } = query;
    this.counter = new TagCounter(memoryBytesMax);
    this.#spans = spans;
    this.#query = query;
    this.#request = { question, startNano, endNano, filter, bytesMax: memoryBytesMax };
    this.#concurrency = concurrency;
  }

  async ask({ heads }: View, blocks: readonly StoredBlock[]): Promise<void> {
    const { filter, question } = this.#query;
    const shards: Shard[] = heads.filter((head) => overlaps(head, this.#query));
    const work: Work[] = [];
    /** What the indexes do not know. */
    const rest: Work[] = [];
    if (filter === undefined) {
      for (let from = 0; from < blocks.length; from += blocksPerJob) {
        const some = blocks.slice(from, from + blocksPerJob);
        work.push(() => this.#askIndexes(some, rest));
      }
    } else {
      const groups = blocks.flatMap((block) => block.shards);
      shards.push(...groups.filter((shard) => overlaps(shard, this.#query)));
    }
    for (const shard of shards) work.push(() => this.#askShard(shard, question));
    this.stats.totalJobs += shards.length;
    for (const some of [work, rest]) {
      await forEachBounded(some, this.#concurrency, async (one) => await one());
    }
  }

  async #askShard(shard: Shard, question: TagQuestion): Promise<void> {
    try {
      const request = { ...this.#request, question };
      this.#note(await shard.countTags(request, this.#query.signal));
      this.stats.completedJobs++;
    } catch (error) {
      this.#fail(error, shard.name);
    }
  }

  async #askIndexes(blocks: readonly StoredBlock[], rest: Work[]): Promise<void> {
    this.stats.totalJobs += blocks.length;
    let found: IndexedTags;
    try {
      found = await this.#spans.stored.indexedTags(blocks, this.#request, this.#query.signal);
    } catch (error) {
      this.#fail(error, `${blocks.length} blocks from ${blocks[0].path} on`);
      return;
    }
    this.#note(found);
    this.stats.completedJobs += blocks.length - found.failed.length;
    for (const { path, error } of found.failed) this.#fail(error, `block ${path}`);
    this.stats.totalJobs += found.unread.length;
    for (const { shard, question } of found.unread) {
      rest.push(() => this.#askShard(shard, question));
    }
  }

  #note(counts: TagCounts): void {
    this.counter.addCounts(counts);
    this.stats.inspectedBytes += counts.inspectedBytes;
    this.stats.inspectedSpans += counts.inspectedSpans;
  }

  #fail(error: unknown, name: string): void {
    throwIfEnded(this.#query.signal);
    // It is the query's fault, not that of the shard.
    if (error instanceof SpoorError && isQueryFault(error)) throw error;
    this.failures.push(failureOf(error, name));
  }
}
