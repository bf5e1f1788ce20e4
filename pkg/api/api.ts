/**
 * The door of pkg/api: messages between modules.
 */
export type { PushRequest, PushResult, SpanSink } from "./ingest.ts";
export type {
  DetailsAnswer,
  FindTraceRequest,
  HeldTraces,
  HeldTracesRequest,
  ListTracesRequest,
  QueryPlan,
  RootSummary,
  SpanAttribute,
  SpanSummary,
  TimeRange,
  TraceDetails,
  TraceDetailsRequest,
  TraceList,
} from "./query.ts";
export type {
  TagCounts,
  TagGroup,
  TagQuestion,
  TagReference,
  TagScope,
  TagValueType,
  TagsRequest,
} from "./tags.ts";
