/**
 * Finds the newest traces of a time range, exactly: the answer is a function of the spans that
 * overlap the range, whatever heads, row groups and blocks they are in. With a filter, those traces
 * of which at least one of these spans matches. How: search-run.ts.
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

/** How a search went about it: what was left out and why. */
export interface SearchPlan {
  /** Blocks of the tenant, whatever their time. */
  storedBlocks: number;
  /** Heads and row groups whose time overlaps the range. */
  heads: number;
  rowGroups: number;
  /** Of these: asked for their traces; the others could not change the answer. */
  askedShards: number;
  /** Asked, and left out by their tag index. */
  prunedShards: number;
  /** Not asked, as they cannot hold the trace that the condition names. */
  excludedShards: number;
  /** How often heads and jobs of row groups were asked: for traces, details, spans to join. */
  jobs: number;
  /** How long these took, added up, milliseconds. */
  askedMs: number;
}

export interface SearchResult {
  /** Newest start first, ties by id. */
  traces: MergedTrace[];
  stats: SearchStats;
  plan: SearchPlan;
  /** What could not be read. */
  failures: Failure[];
  /** Nothing of the blocks could be read, not even which there are. */
  isStoredMissing: boolean;
}

/**
 * Throws Canceled or Timeout when the signal aborts, and InvalidInput for a filter that the spans
 * make impossible; all else is in `failures`.
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
 * The traces of `searchNewest` one by one, as they become final, and then all that is to be said of
 * the search. Throws as that does, also after some traces.
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
