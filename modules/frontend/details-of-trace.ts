/** Details of a trace from its whole spans: for traces with spans that came twice. */
import type { RootSummary, SpanSummary, TimeRange, TraceDetails } from "#pkg/api/query.ts";
import { matchTrace } from "#pkg/engine/match-trace.ts";
import { compareRoots, compareSpans } from "#pkg/engine/traces.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import type { Resource, Span, TraceData } from "#pkg/otlp/otlp.ts";
import { costOfRegex } from "#pkg/traceql/regex.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
import { mergeTraces } from "./merge-trace.ts";

/** What is known of a trace after all that have spans of it were asked. */
export type MergedTrace = Omit<TraceDetails, "fingerprints">;

export interface DetailsQuery extends TimeRange {
  /** The condition that spans must satisfy to be shown and counted as matched. */
  filter?: FieldExpr;
}

/** A whole trace, and what is asked of it. */
export interface WholeTraceJob {
  /** Protobuf TracesData. */
  pieces: readonly Uint8Array[];
  query: DetailsQuery;
  spansPerTrace: number;
  /** A pattern is asked of its values: that may take any time. */
  hasPattern: boolean;
}

/** Where whole traces are compared. Throws as `detailsOfTrace`; Canceled, Timeout. */
export type WholeTraces = (
  job: WholeTraceJob,
  signal: AbortSignal,
) => Promise<MergedTrace | undefined>;

/** Compares them in this thread. */
export const wholeTracesHere: WholeTraces = (job) => Promise.resolve(detailsOfTrace(job));

/** Whether a condition asks for a pattern that is no choice of texts. */
export function hasPattern(expr: FieldExpr | undefined): boolean {
  switch (expr?.kind) {
    case "not":
    case "negate":
      return hasPattern(expr.operand);
    case "comparison": {
      const { op, right } = expr;
      const isPattern = (op === "=~" || op === "!~") && right.kind === "static";
      if (isPattern && costOfRegex(String(right.static.type === "nil" || right.static.value)) > 0) {
        return true;
      }
      return hasPattern(expr.left) || hasPattern(right);
    }
    case "logical":
    case "arithmetic":
      return hasPattern(expr.left) || hasPattern(expr.right);
    default:
      return false;
  }
}

/**
 * The spans of the pieces that overlap the range; undefined if none does. Throws InvalidInput for a
 * filter that they make impossible.
 */
export function detailsOfTrace({
  pieces,
  query: range,
  spansPerTrace,
}: Omit<WholeTraceJob, "hasPattern">): MergedTrace | undefined {
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

/** Tells whether a span matches, and gives the summary of one that does its attributes. */
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
 * Times as the columns have them: signed, and a span that ends before it starts has no duration.
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
