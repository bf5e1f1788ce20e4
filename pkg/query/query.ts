/**
 * The door of pkg/query: plans and runs queries over shards.
 */
export { type WholeTraces, wholeTracesHere } from "./evaluate-whole.ts";
export type { MergedTrace } from "./merge-details.ts";
export {
  type DecodeSpan,
  type WireResource,
  type WireSpan,
  decodeSpan,
  mergeWire,
} from "./merge-wire.ts";
export { checkRange, withByteBudget } from "./query-limits.ts";
export { QueryQueue } from "./query-queue.ts";
export type { SearchQuery } from "./search-query.ts";
export { type SearchResult, type SearchStats, searchNewest } from "./search.ts";
export { withStallLimit } from "./stalled-store.ts";
export {
  type TagsOptions,
  type TagsQuery,
  type TagsResult,
  type TagsStats,
  findTags,
} from "./tags.ts";
export { type TraceQuery, findTrace, traceTooLarge } from "./trace-by-id.ts";
export { type Failure, type Spans, joinMessages, throwIfEnded } from "./view.ts";
