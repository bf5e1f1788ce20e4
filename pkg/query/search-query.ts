/** The request of a search, and its limits. */
import type { QueryPlan, TimeRange } from "#pkg/api/api.ts";
import type { WholeTraces } from "./evaluate-whole.ts";
import type { JobBounds } from "./shard-jobs.ts";

export interface SearchQuery extends TimeRange {
  tenant: string;
  /** Traces returned at most. */
  limit: number;
  spansPerTrace: number;
  /** The condition that at least one span of a trace must match; undefined: none. */
  plan?: QueryPlan;
  /** A search by tags: its response does not list the spans that match. */
  isByTags?: boolean;
  signal: AbortSignal;
}

export interface SearchOptions extends JobBounds {
  /** Jobs and heads asked at a time. */
  concurrency: number;
  /** Memory for the traces that the search tracks, bytes. */
  memoryBytesMax: number;
  /**
   * Yield each trace as soon as no unread trace can come before it. This costs more requests and
   * serves streaming clients. Otherwise most traces become final only at the end.
   */
  isEager?: boolean;
  /** Evaluates whole traces; by default in the calling thread. */
  wholeTraces?: WholeTraces;
}
