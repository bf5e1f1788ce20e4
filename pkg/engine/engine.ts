/**
 * The door of pkg/engine: conditions, lists, details and tags over column batches.
 */
export { cheapestFirst } from "#pkg/engine/condition/filter.ts";
export { intrinsicSources } from "#pkg/engine/condition/intrinsics.ts";
export { isOfWholeTraces, planForShards, planOf } from "#pkg/engine/condition/plan.ts";
export { type FilterTools, prepareFilter } from "#pkg/engine/condition/prepare-filter.ts";
export { conjunctsOf, spanPart } from "#pkg/engine/condition/span-part.ts";
export {
  detailsOfRowGroup,
  findInRowGroup,
  heldInRowGroup,
  listRowGroup,
  mayHoldMatch,
  noTraces,
  spansOfRowGroup,
} from "#pkg/engine/row-group/row-group.ts";
export { type IndexedTags, countRowGroupTags, tagsOfIndex } from "#pkg/engine/tags/block-tags.ts";
export { TagCounter, type TagValue } from "#pkg/engine/tags/tag-counter.ts";
export { countTags } from "#pkg/engine/tags/tags.ts";
export { listHead } from "#pkg/engine/trace/list-head.ts";
export { listTraces } from "#pkg/engine/trace/list-traces.ts";
export {
  type JoinedTraces,
  type TraceSpans,
  type TraceSpansRequest,
  collectSpans,
  detailsOfJoined,
  joinedColumns,
} from "#pkg/engine/trace/trace-spans.ts";
export { compareSpans, findTrace, heldTraces, traceDetails } from "#pkg/engine/trace/traces.ts";
