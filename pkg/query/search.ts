/**
 * Finds the newest traces of a time range. The result is exact: it depends only on the spans that
 * overlap the range, not on the heads, row groups and blocks that hold them. With a filter, at
 * least one of these spans of each trace matches. search-run.ts describes the algorithm.
 */
import type { ShardRef, StoredBlock } from "#pkg/questions/questions.ts";
import type { ShardState } from "./candidates.ts";
import type { MergedTrace } from "./merge-details.ts";
import { SearchRun } from "./search-run.ts";
import type { SearchOptions, SearchQuery } from "./search-query.ts";
import { type Failure, openView, overlaps, type Spans, type View } from "./view.ts";

export interface SearchStats {
  inspectedTraces: number;
  inspectedSpans: number;
  inspectedBytes: number;
  totalBlocks: number;
  totalBlockBytes: number;
  totalJobs: number;
  completedJobs: number;
}

/** How a search was executed: which shards were read, and which were skipped and why. */
export interface SearchReport {
  /** Blocks of the tenant, at any time. */
  storedBlocks: number;
  /** Heads and row groups whose time overlaps the range. */
  heads: number;
  rowGroups: number;
  /** Heads and row groups asked for their traces; the others could not change the result. */
  askedShards: number;
  /** Asked, and skipped because their tag index shows that nothing matches. */
  prunedShards: number;
  /** Not asked, because they cannot hold the trace id that the condition names. */
  excludedShards: number;
  /** Requests to heads and jobs of row groups: lists of traces, details, spans to join. */
  jobs: number;
  /** Sum of the durations of these requests, milliseconds. */
  askedMs: number;
}

export interface SearchResult {
  /** Newest start first, ties by id. */
  traces: MergedTrace[];
  stats: SearchStats;
  plan: SearchReport;
  /** What could not be read. */
  failures: Failure[];
  /** The table could not be read: all blocks are missing. */
  isStoredMissing: boolean;
}

/**
 * Returns the newest traces that match. Throws Canceled or Timeout when the signal aborts, and
 * InvalidInput if the filter cannot be evaluated over these spans or the query exceeds its limits.
 * All other errors are in `failures`.
 */
export async function searchNewest(
  spans: Spans,
  query: SearchQuery,
  options: SearchOptions,
): Promise<SearchResult> {
  const running = newestTraces(spans, query, options);
  const traces: MergedTrace[] = [];
  for (;;) {
    const next = await running.next();
    if (next.done === true) return { traces, ...next.value };
    traces.push(next.value);
  }
}

/**
 * Yields the traces of `searchNewest` one by one, as they become final, and returns the rest of the
 * result. Throws as `searchNewest` does, possibly after some traces.
 */
export async function* newestTraces(
  spans: Spans,
  query: SearchQuery,
  options: SearchOptions,
): AsyncGenerator<MergedTrace, Omit<SearchResult, "traces">> {
  const view = await openView(spans, { ...query, range: query });
  try {
    const blocks = view.blocks.filter((block) => overlaps(block, query));
    const inRange = (shard: ShardRef): boolean => overlaps(shard, query);
    const blockShards = blocks.flatMap((block) => block.shards).filter(inRange);
    const shards = [...view.heads.filter(inRange), ...blockShards];
    const search = new SearchRun(spans, shards, query, options);
    yield* search.run();
    return outcomeOf(search, view, { blocks, rowGroups: blockShards.length });
  } finally {
    view.release();
  }
}

function outcomeOf(
  search: SearchRun,
  view: View,
  { blocks, rowGroups }: { blocks: readonly StoredBlock[]; rowGroups: number },
): Omit<SearchResult, "traces"> {
  const { asker, shards } = search;
  const count = (is: (state: ShardState) => boolean): number => shards.filter(is).length;
  return {
    stats: {
      ...search.inspected(),
      totalBlocks: blocks.length,
      totalBlockBytes: blocks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      totalJobs: shards.length + view.failures.length,
      completedJobs: shards.length - count(({ isFailed }) => isFailed),
    },
    plan: {
      storedBlocks: view.blocks.length,
      heads: shards.length - rowGroups,
      rowGroups,
      askedShards: count(({ isAsked }) => isAsked),
      prunedShards: count(({ isPruned }) => isPruned),
      excludedShards: count(({ isExcluded }) => isExcluded),
      jobs: asker.jobs,
      askedMs: Math.round(asker.askedMs * 10) / 10,
    },
    failures: [...view.failures, ...asker.failures],
    isStoredMissing: view.isStoredMissing,
  };
}
