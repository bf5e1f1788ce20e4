/**
 * OpenTelemetry traces as objects, for cold paths: responses, tests, tools, receivers of other
 * formats.
 *
 * Names follow opentelemetry-proto 1.11. Ids are bytes as received, and 64-bit numbers are bigint.
 * A missing field has its protobuf default (0, "", empty), so a message without a resource equals
 * one with an empty resource. README.md lists what is kept and dropped. Hot paths never build these
 * objects: they work on the wire bytes (split.ts, pkg/columns).
 */

/** Deepest accepted nesting of AnyValue; a plain value is one level. */
export const valueDepthMax = 64;

export interface TraceData {
  resourceSpans: ResourceSpans[];
}

export interface ResourceSpans {
  resource: Resource;
  scopeSpans: ScopeSpans[];
  schemaUrl: string;
}

export interface Resource {
  attributes: KeyValue[];
  droppedAttributesCount: number;
  entityRefs: EntityRef[];
}

export interface EntityRef {
  schemaUrl: string;
  type: string;
  idKeys: string[];
  descriptionKeys: string[];
}

export interface ScopeSpans {
  scope: Scope;
  spans: Span[];
  schemaUrl: string;
}

/** InstrumentationScope. */
export interface Scope {
  name: string;
  version: string;
  attributes: KeyValue[];
  droppedAttributesCount: number;
}

export interface Span {
  /** 16 bytes in an accepted span. */
  traceId: Uint8Array;
  /** 8 bytes in an accepted span. */
  spanId: Uint8Array;
  traceState: string;
  /** Empty for a root span, else 8 bytes. */
  parentSpanId: Uint8Array;
  name: string;
  /** Index into `spanKindNames`; a number without a name is kept. */
  kind: number;
  /** Nanoseconds since the Unix epoch, unsigned. */
  startTimeUnixNano: bigint;
  endTimeUnixNano: bigint;
  attributes: KeyValue[];
  droppedAttributesCount: number;
  events: SpanEvent[];
  droppedEventsCount: number;
  links: SpanLink[];
  droppedLinksCount: number;
  status: SpanStatus;
  /** Bits 0-7 W3C trace flags, 0x100 "is remote is known", 0x200 "is remote". */
  flags: number;
}

export interface SpanEvent {
  timeUnixNano: bigint;
  name: string;
  attributes: KeyValue[];
  droppedAttributesCount: number;
}

export interface SpanLink {
  /** Ids of links are kept as received, with any length. */
  traceId: Uint8Array;
  spanId: Uint8Array;
  traceState: string;
  attributes: KeyValue[];
  droppedAttributesCount: number;
  flags: number;
}

export interface SpanStatus {
  message: string;
  /** Index into `statusCodeNames`; a number without a name is kept. */
  code: number;
}

export interface KeyValue {
  key: string;
  value: AnyValue;
}

/** The value of an attribute. `empty` is an AnyValue with no member set, which OTLP allows. */
export type AnyValue =
  | { kind: "string"; value: string }
  | { kind: "bool"; value: boolean }
  | { kind: "int"; value: bigint }
  | { kind: "double"; value: number }
  | { kind: "array"; values: AnyValue[] }
  | { kind: "kvlist"; values: KeyValue[] }
  | { kind: "bytes"; value: Uint8Array }
  | { kind: "empty" };

/** Enum names of Span.kind by number. */
export const spanKindNames: readonly string[] = [
  "SPAN_KIND_UNSPECIFIED",
  "SPAN_KIND_INTERNAL",
  "SPAN_KIND_SERVER",
  "SPAN_KIND_CLIENT",
  "SPAN_KIND_PRODUCER",
  "SPAN_KIND_CONSUMER",
];

/** Enum names of Status.code by number. */
export const statusCodeNames: readonly string[] = [
  "STATUS_CODE_UNSET",
  "STATUS_CODE_OK",
  "STATUS_CODE_ERROR",
];
