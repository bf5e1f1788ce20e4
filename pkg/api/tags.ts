/**
 * Questions about tags: which attributes spans have, and which values. Without a filter, all spans
 * of a shard count if the shard's time overlaps the range. With a filter, only the spans count that
 * match and overlap the range themselves.
 */
import type { FieldExpr, Reference } from "#pkg/traceql/traceql.ts";

/** Scopes that have attributes. */
export type TagScope = "span" | "resource" | "event" | "link" | "instrumentation";

/** Types of values in answers. Lists and other composite values are not listed. */
export type TagValueType = "string" | "int" | "float" | "bool";

/** An attribute of one scope, or an intrinsic. */
export type TagReference =
  | { kind: "attribute"; scope: TagScope; name: string }
  | { kind: "intrinsic"; name: Extract<Reference, { kind: "intrinsic" }>["name"] };

export type TagQuestion =
  | { kind: "names"; scopes: readonly TagScope[] }
  /** The values of all references together. */
  | { kind: "values"; references: readonly TagReference[] };

export interface TagsRequest {
  question: TagQuestion;
  startNano: bigint;
  endNano: bigint;
  /** A condition on single spans, which names no value of a whole trace. */
  filter?: FieldExpr;
  /** Memory for distinct names or values, bytes. Beyond it, rare ones are left out. */
  bytesMax: number;
}

/** Names of one scope, or values of one type. */
export interface TagGroup {
  kind: TagScope | TagValueType;
  texts: string[];
  /**
   * The number of occurrences: once per span, more often if several events or links of a span have
   * the text, or if a block of an older version has a repeated key.
   */
  counts: Float64Array;
}

export interface TagCounts {
  /** In no particular order. */
  groups: TagGroup[];
  /** True if texts were left out. */
  truncated: boolean;
  /** Spans that were inspected; 0 if an index answered. */
  inspectedSpans: number;
}
