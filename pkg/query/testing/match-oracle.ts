/**
 * Test support: a filter over the spans of a trace that is there as objects, by the same code as
 * over columns.
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
  /** 1 for each span that matches, in the order in which the data has them. */
  hits: Uint8Array;
  /** What a search shows of the span at this place. */
  attributes(span: number): SpanAttribute[];
}

/**
 * @param selection 1 for each span to look at.
 *
 * Throws as `evaluateFilter` does.
 */
export function matchTrace(data: TraceData, filter: FieldExpr, selection: Uint8Array): TraceMatch {
  // One trace needs no hash seed that nobody can guess.
  const head = new Head(0);
  new HeadDecoder(head).decode(encodeTraceData(data));
  const rows = Uint32Array.from({ length: head.rows }, (_, row) => row);
  const batch = new HeadBatch(head.freeze(), rows);
  const { hits, attributes } = matchRows(batch, filter, selection);
  return { hits, attributes: (span) => attributes.ofRow(span) };
}
