/** Codecs of the requests to shards and of their answers. */
import type {
  DetailsAnswer,
  FindTraceRequest,
  HeldTraces,
  HeldTracesRequest,
  ListTracesRequest,
  QueryPlan,
  RootSummary,
  SpanAttribute,
  SpanSummary,
  TagCounts,
  TagGroup,
  TagQuestion,
  TagReference,
  TagsRequest,
  TimeRange,
  TraceDetails,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/api.ts";
import type { TraceSpans, TraceSpansRequest } from "#pkg/engine/engine.ts";
import {
  bigInt,
  bigInt64s,
  bigUint64s,
  bool,
  bytes,
  type Codec,
  count,
  dictionary,
  float,
  float64s,
  list,
  optional,
  record,
  text,
  variant,
  word,
} from "#pkg/wire/wire.ts";
import { batchData } from "./batch-codec.ts";
import { fieldExpr, intrinsicName } from "./filter-codec.ts";

const times = { startNano: bigInt, endNano: bigInt };

const queryPlan: Codec<QueryPlan> = record<QueryPlan>({
  filter: fieldExpr,
  prefilter: optional(fieldExpr),
  traceNames: list(intrinsicName),
  canFail: bool,
  hasPattern: bool,
  columns: list(text),
  traceId: optional(bytes),
});

export const listRequest: Codec<ListTracesRequest> = record<ListTracesRequest>({
  ...times,
  limit: count,
  enough: optional(count),
  plan: optional(queryPlan),
  hasWholeTraces: optional(bool),
});

type Pairs = Pick<TraceList, "ids" | "startNanos">;

export const traceList: Codec<TraceList> = record<TraceList>({
  ids: bytes,
  startNanos: bigInt64s,
  truncated: bool,
  maybes: optional(record<Pairs>({ ids: bytes, startNanos: bigInt64s })),
  inspectedSpans: count,
});

export const detailsRequest: Codec<TraceDetailsRequest> = record<TraceDetailsRequest>({
  ...times,
  ids: bytes,
  spansPerTrace: count,
  plan: optional(queryPlan),
});

type Value = SpanAttribute["value"];
type ValueCase =
  | { type: "string"; value: string }
  | { type: "bigint"; value: bigint }
  | { type: "number"; value: number }
  | { type: "boolean"; value: boolean };

const valueCase = variant<ValueCase, "type">("type", {
  string: record<{ value: string }>({ value: text }),
  bigint: record<{ value: bigint }>({ value: bigInt }),
  number: record<{ value: number }>({ value: float }),
  boolean: record<{ value: boolean }>({ value: bool }),
});

const attributeValue: Codec<Value> = {
  write: (out, value) => valueCase.write(out, { type: typeof value, value } as ValueCase),
  read: (from) => valueCase.read(from).value,
};

const spanSummary = record<SpanSummary>({
  spanId: text,
  name: text,
  startNano: bigInt,
  durationNano: bigInt,
  attributes: optional(list(record<SpanAttribute>({ key: text, value: attributeValue }))),
});

const rootSummary = record<RootSummary>({
  spanId: text,
  service: text,
  name: text,
  startNano: bigInt,
});

const traceDetails = record<TraceDetails>({
  traceId: text,
  ...times,
  root: optional(rootSummary),
  spans: list(spanSummary),
  matchedSpans: count,
  fingerprints: bigUint64s,
  services: dictionary(
    record<{ spanCount: number; errorCount: number }>({ spanCount: count, errorCount: count }),
  ),
});

export const detailsAnswer: Codec<DetailsAnswer> = record<DetailsAnswer>({
  traces: list(traceDetails),
});

export const heldRequest: Codec<HeldTracesRequest> = record<HeldTracesRequest>({ ids: bytes });

export const heldAnswer: Codec<HeldTraces> = record<HeldTraces>({ marks: bytes });

export const spansRequest: Codec<TraceSpansRequest> = record<TraceSpansRequest>({
  ids: bytes,
  columns: optional(list(text)),
  range: optional(record<TimeRange>(times)),
  bytesMax: count,
});

export const traceSpans: Codec<TraceSpans> = record<TraceSpans>({
  batch: batchData,
  answered: count,
});

export const traceRequest: Codec<FindTraceRequest> = record<FindTraceRequest>({
  traceId: bytes,
  bytesMax: optional(count),
});

export const traceAnswer: Codec<Uint8Array[]> = list(bytes);

const tagScope = word(["span", "resource", "event", "link", "instrumentation"]);

type AttributeReference = Omit<Extract<TagReference, { kind: "attribute" }>, "kind">;
type IntrinsicReference = Omit<Extract<TagReference, { kind: "intrinsic" }>, "kind">;

const tagReference = variant<TagReference, "kind">("kind", {
  attribute: record<AttributeReference>({ scope: tagScope, name: text }),
  intrinsic: record<IntrinsicReference>({ name: intrinsicName }),
});

type NamesQuestion = Omit<Extract<TagQuestion, { kind: "names" }>, "kind">;
type ValuesQuestion = Omit<Extract<TagQuestion, { kind: "values" }>, "kind">;

export const tagQuestion: Codec<TagQuestion> = variant<TagQuestion, "kind">("kind", {
  names: record<NamesQuestion>({ scopes: list(tagScope) }),
  values: record<ValuesQuestion>({ references: list(tagReference) }),
});

export const tagsRequest: Codec<TagsRequest> = record<TagsRequest>({
  question: tagQuestion,
  ...times,
  filter: optional(fieldExpr),
  bytesMax: count,
});

const groupKind = word([
  "span",
  "resource",
  "event",
  "link",
  "instrumentation",
  "string",
  "int",
  "float",
  "bool",
]);

export const tagCounts: Codec<TagCounts> = record<TagCounts>({
  groups: list(record<TagGroup>({ kind: groupKind, texts: list(text), counts: float64s })),
  truncated: bool,
  inspectedSpans: count,
});
