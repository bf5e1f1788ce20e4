/**
 * Test support: details of a trace computed from decoded spans in the simplest way. It is the
 * oracle of the columns that are joined.
 */
import type { RootSummary, SpanSummary, TimeRange } from "#pkg/api/query.ts";
import { matchTrace } from "./match-oracle.ts";
import { compareRoots } from "#pkg/columns/trace-root.ts";
import { compareSpans } from "#pkg/engine/trace/traces.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import type { Resource, Span, TraceData } from "#pkg/otlp/trace-data.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
import type { MergedTrace } from "#pkg/query/merge-details.ts";
import { mergeTraces } from "#pkg/query/merge-trace.ts";

interface DetailsQuery extends TimeRange {
  /** The condition of spans that are listed and counted as matched. */
  filter?: FieldExpr;
}

/** A whole trace, and the request for its details. */
interface WholeTraceJob {
  /** Protobuf TracesData. */
  pieces: readonly Uint8Array[];
  query: DetailsQuery;
  spansPerTrace: number;
}

/**
 * Returns details of the spans that overlap the range; undefined if none does. Throws InvalidInput
 * if the filter cannot be evaluated over these spans.
 */
export function detailsOfTrace({
  pieces,
  query: range,
  spansPerTrace,
}: WholeTraceJob): MergedTrace | undefined {
  const merged = mergeTraces(pieces.map((piece) => decodeTraceData(piece)));
  const isMatch = matcherOf(merged, range);
  const services = new Map<string, { spanCount: number; errorCount: number }>();
  const spans: SpanSummary[] = [];
  let out: MergedTrace | undefined;
  for (const { resource, scopeSpans } of merged.resourceSpans) {
    const service = serviceOf(resource);
    for (const span of scopeSpans.flatMap((scope) => scope.spans)) {
      const summary = summaryOf(span);
      if (!overlaps(summary, range)) continue;
      const { startNano } = summary;
      const endNano = startNano + summary.durationNano;
      out ??= emptyTrace(span, startNano, endNano);
      if (startNano < out.startNano) out.startNano = startNano;
      if (endNano > out.endNano) out.endNano = endNano;
      if (isMatch(span, summary)) spans.push(summary);
      const stats = services.get(service) ?? { spanCount: 0, errorCount: 0 };
      stats.spanCount++;
      if (span.status.code === errorCode) stats.errorCount++;
      services.set(service, stats);
      if (span.parentSpanId.some((byte) => byte !== 0)) continue;
      const root: RootSummary = { spanId: summary.spanId, service, name: span.name, startNano };
      if (out.root === undefined || compareRoots(root, out.root) < 0) out.root = root;
    }
  }
  if (out === undefined) return undefined;
  out.matchedSpans = spans.length;
  out.spans = spans.sort(compareSpans).slice(0, spansPerTrace);
  out.services = Object.fromEntries(services);
  return out;
}

function overlaps({ startNano, durationNano }: SpanSummary, range: TimeRange): boolean {
  return startNano < range.endNano && startNano + durationNano >= range.startNano;
}

/** Returns a function that checks a span and adds attributes to the summary of a match. */
function matcherOf(
  data: TraceData,
  query: DetailsQuery,
): (span: Span, summary: SpanSummary) => boolean {
  const { filter } = query;
  if (filter === undefined) return () => true;
  const spans = data.resourceSpans.flatMap(({ scopeSpans }) =>
    scopeSpans.flatMap((scope) => scope.spans),
  );
  const inRange = Uint8Array.from(spans, (span) => (overlaps(summaryOf(span), query) ? 1 : 0));
  const match = matchTrace(data, filter, inRange);
  const places = new Map(spans.map((span, place) => [span, place]));
  return (span, summary) => {
    const place = places.get(span)!;
    if (match.hits[place] === 0) return false;
    summary.attributes = match.attributes(place);
    return true;
  };
}

/** STATUS_CODE_ERROR. */
const errorCode = 2;

function emptyTrace({ traceId }: Span, startNano: bigint, endNano: bigint): MergedTrace {
  return {
    traceId: Buffer.from(traceId).toString("hex"),
    startNano,
    endNano,
    root: undefined,
    spans: [],
    matchedSpans: 0,
    services: {},
  };
}

/**
 * Uses the times of the columns: signed, and a span that ends before it starts has duration 0.
 */
function summaryOf(span: Span): SpanSummary {
  const startNano = BigInt.asIntN(64, span.startTimeUnixNano);
  const durationNano = BigInt.asIntN(64, span.endTimeUnixNano - span.startTimeUnixNano);
  return {
    spanId: Buffer.from(span.spanId).toString("hex"),
    name: span.name,
    startNano,
    durationNano: durationNano > 0n ? durationNano : 0n,
  };
}

function serviceOf({ attributes }: Resource): string {
  const first = attributes.find(({ key }) => key === "service.name");
  return first?.value.kind === "string" ? first.value.value : "";
}
