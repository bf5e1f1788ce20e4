/**
 * Test support: evaluates a filter over a decoded trace, by converting it to columns.
 */
import type { SpanAttribute } from "#pkg/api/query.ts";
import { Head } from "#pkg/columns/head.ts";
import { HeadBatch } from "#pkg/columns/head-batch.ts";
import { HeadDecoder } from "#pkg/columns/head-decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { TraceData } from "#pkg/otlp/trace-data.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
import { matchRows } from "#pkg/engine/trace/traces.ts";

export interface TraceMatch {
  /** 1 for each span that matches, in the order of the data. */
  hits: Uint8Array;
  /** Returns the attributes that a search lists for the span with this index. */
  attributes(span: number): SpanAttribute[];
}

/**
 * Evaluates a filter over the spans of a trace.
 *
 * @param selection 1 for each span to evaluate.
 *
 * Throws as `evaluateFilter` does.
 */
export function matchTrace(data: TraceData, filter: FieldExpr, selection: Uint8Array): TraceMatch {
  // A single trace needs no secret hash seed.
  const head = new Head(0);
  new HeadDecoder(head).decode(encodeTraceData(data));
  const rows = Uint32Array.from({ length: head.rows }, (_, row) => row);
  const batch = new HeadBatch(head.freeze(), rows);
  const { hits, attributes } = matchRows(batch, filter, selection);
  return { hits, attributes: (span) => attributes.ofRow(span) };
}
