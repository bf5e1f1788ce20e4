/**
 * The data behind each intrinsic of the language: its columns, its key in the tag index, and
 * whether its values are listed. Filters, pruning, tags and details all use this table.
 * `pkg/traceql/intrinsics.ts` defines the syntax of intrinsics.
 */
import type { IntrinsicName } from "#pkg/traceql/traceql.ts";

/** How values are read. `tree`: `withTraceColumns` computes them from all spans of the trace. */
export type IntrinsicKind =
  | "duration"
  | "text"
  | "status"
  | "kind"
  | "span_id"
  | "trace_id"
  | "event_text"
  | "event_time"
  | "link_trace_id"
  | "link_span_id"
  | "tree";

export interface IntrinsicSource {
  kind: IntrinsicKind;
  /** The column of its values, in blocks and in batches of `withTraceColumns`. */
  column: string;
  /** Other columns that are needed for its values. */
  besides: readonly string[];
  /** The key of the tag index that helps to prune; undefined if there is none. */
  indexKey: string | undefined;
  /** Whether tag requests list its values. Times, ids and numbers are not listed: most differ. */
  isListed: boolean;
}

interface SourceOptions {
  besides?: readonly string[];
  indexKey?: string;
  isListed?: boolean;
}

function source(
  kind: IntrinsicKind,
  column: string,
  { besides = [], indexKey, isListed = false }: SourceOptions = {},
): IntrinsicSource {
  return { kind, column, besides, indexKey, isListed };
}

function listedText(column: string): IntrinsicSource {
  return source("text", column, { indexKey: column, isListed: true });
}

/** The sources by the name of the intrinsic. */
export const intrinsicSources: Readonly<Record<IntrinsicName, IntrinsicSource>> = {
  "span:duration": source("duration", "duration_nano", { indexKey: "duration_nano" }),
  "span:name": listedText("name"),
  "span:status": source("status", "status", { indexKey: "status" }),
  "span:statusMessage": listedText("status_message"),
  "span:kind": source("kind", "kind", { indexKey: "kind" }),
  "span:id": source("span_id", "span_id"),
  "span:parentID": source("span_id", "parent_span_id"),
  "span:childCount": source("tree", "child_count"),
  "trace:id": source("trace_id", "trace_id"),
  "trace:duration": source("tree", "trace_duration_nano"),
  "trace:rootName": source("tree", "root_name", { isListed: true }),
  "trace:rootService": source("tree", "root_service", { isListed: true }),
  "event:name": source("event_text", "event_name", { indexKey: "event_name", isListed: true }),
  // For times of events and for links, the index shows only whether there are any.
  "event:timeSinceStart": source("event_time", "event_time", {
    besides: ["start_unix_nano"],
    indexKey: "event_name",
  }),
  "link:traceID": source("link_trace_id", "link_trace_id", { indexKey: "link_span_id" }),
  "link:spanID": source("link_span_id", "link_span_id", { indexKey: "link_span_id" }),
  "instrumentation:name": listedText("scope_name"),
  "instrumentation:version": listedText("scope_version"),
  nestedSetLeft: source("tree", "nested_left"),
  nestedSetRight: source("tree", "nested_right"),
  nestedSetParent: source("tree", "nested_parent"),
};

/** Returns whether the values depend on the other spans of the trace. */
export function isOfWholeTrace(name: IntrinsicName): boolean {
  return intrinsicSources[name].kind === "tree";
}
