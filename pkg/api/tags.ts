/**
 * Questions about tags: which attributes spans have, and which values. Without a filter they are
 * about everything that a shard holds whose time overlaps the range; with one, about the spans that
 * match and overlap the range themselves.
 */
import type { FieldExpr, Reference } from "#pkg/traceql/traceql.ts";

/** Scopes that have attributes. */
export type TagScope = "span" | "resource" | "event" | "link" | "instrumentation";

/** Types of values, as answers name them. Lists and the like have none. */
export type TagValueType = "string" | "int" | "float" | "bool";

/** An attribute of one scope, or an intrinsic. */
export type TagReference =
  | { kind: "attribute"; scope: TagScope; name: string }
  | { kind: "intrinsic"; name: Extract<Reference, { kind: "intrinsic" }>["name"] };

export type TagQuestion =
  | { kind: "names"; scopes: readonly TagScope[] }
  /** Of all of them together. */
  | { kind: "values"; references: readonly TagReference[] };

export interface TagsRequest {
  question: TagQuestion;
  startNano: bigint;
  endNano: bigint;
  /** A condition on single spans: it names no value of a whole trace. */
  filter?: FieldExpr;
  /** Memory for distinct names or values, bytes; beyond it the rarest are left out. */
  bytesMax: number;
}

/** Names of one scope, or values of one type. */
export interface TagGroup {
  kind: TagScope | TagValueType;
  texts: string[];
  /**
   * How often each was met: once per span that has it, more where a span has several (events,
   * links, a key sent twice).
   */
  counts: Float64Array;
}

export interface TagCounts {
  /** In no order. */
  groups: TagGroup[];
  /** True if some were left out. */
  truncated: boolean;
  /** Spans that were looked at; 0 if an index has told. */
  inspectedSpans: number;
}
