/** What a search is asked, and its bounds. */
import type { QueryPlan, TimeRange } from "#pkg/api/api.ts";
import type { WholeTraces } from "./evaluate-whole.ts";
import type { JobBounds } from "./shard-jobs.ts";

export interface SearchQuery extends TimeRange {
  tenant: string;
  /** Most traces to return. */
  limit: number;
  spansPerTrace: number;
  /** The condition that at least one span of a trace must satisfy; undefined: none. */
  plan?: QueryPlan;
  /** Answers to searches by tags do not show the spans that match. */
  isByTags?: boolean;
  signal: AbortSignal;
}

export interface SearchOptions extends JobBounds {
  /** Jobs and heads asked at a time. */
  concurrency: number;
  /** Memory for what is known of traces, bytes. */
  memoryBytesMax: number;
  /**
   * Traces are made final as soon as they come before all that was not read, at the price of more
   * questions: for who waits for each of them. Else most of them come at the end.
   */
  isEager?: boolean;
  /** Where whole traces are evaluated; in this thread unless given. */
  wholeTraces?: WholeTraces;
}
