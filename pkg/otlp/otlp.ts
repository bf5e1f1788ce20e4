/**
 * The door of pkg/otlp: OTLP messages, their codecs, the splitter, trace hashes.
 */
export { type CutCounts, type CutRecord, cutAttributes } from "./attribute-cut.ts";
export { type AttributeLimits, hasAttributeLimits, mayExceedLimits } from "./attribute-scan.ts";
export { decodeAnyValue, decodeKeyValueList, decodeTraceData } from "./decode.ts";
export { nestedChunks, spansChunks, traceDataChunks } from "./encode-chunks.ts";
export { encodeTraceData, writeSpan, writeTraceData } from "./encode.ts";
export { exampleTraceIds } from "./example-ids.ts";
export { jsonToWire, parseAnyValueJson, parseAttributesJson } from "./json-decode.ts";
export {
  type SpansOnDemand,
  formatAnyValueJson,
  formatAttributesJson,
  formatTraceJson,
  traceJsonTexts,
} from "./json-encode.ts";
export { SplitScratch } from "./split-scratch.ts";
export { type SplitRejection, type SplitResult, splitRequest } from "./split.ts";
export {
  type AnyValue,
  type EntityRef,
  type KeyValue,
  type Resource,
  type ResourceSpans,
  type Scope,
  type ScopeSpans,
  type Span,
  type SpanEvent,
  type SpanLink,
  type TraceData,
  spanKindNames,
} from "./trace-data.ts";
export { bloomHash, partitionHash, partitionOf, traceIdBytes } from "./trace-hash.ts";
