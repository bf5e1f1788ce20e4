/**
 * Sums the details of one trace from several shards. This is correct only if no span is a duplicate
 * and the condition does not use values of the whole trace. Otherwise the trace's spans are joined
 * (whole-traces.ts).
 */
import type { SpanSummary, TraceDetails } from "#pkg/api/api.ts";
import { compareRoots } from "#pkg/columns/columns.ts";
import { compareSpans } from "#pkg/engine/engine.ts";

/** Details of a trace from all shards that have spans of it. */
export type MergedTrace = Omit<TraceDetails, "fingerprints">;

/** Returns whether a span may be a duplicate, for example after a client's retry. */
export function hasRepeats(all: readonly TraceDetails[]): boolean {
  const seen = new Set<bigint>();
  let count = 0;
  for (const { fingerprints } of all) {
    count += fingerprints.length;
    for (const fingerprint of fingerprints) seen.add(fingerprint);
  }
  return seen.size < count;
}

/** Returns the sum of the details of one or more parts of a trace. */
export function addedUp(all: readonly TraceDetails[], spansPerTrace: number): MergedTrace {
  const { traceId, startNano, endNano, root } = all[0];
  const out: MergedTrace = {
    traceId,
    startNano,
    endNano,
    root,
    spans: [],
    matchedSpans: 0,
    services: {},
  };
  const spans: SpanSummary[] = [];
  const services = new Map<string, { spanCount: number; errorCount: number }>();
  for (const one of all) {
    if (one.startNano < out.startNano) out.startNano = one.startNano;
    if (one.endNano > out.endNano) out.endNano = one.endNano;
    out.matchedSpans += one.matchedSpans;
    for (const span of one.spans) spans.push(span);
    const isEarlier = out.root === undefined || (one.root && compareRoots(one.root, out.root) < 0);
    if (isEarlier) out.root = one.root;
    for (const [service, stats] of Object.entries(one.services)) {
      const sum = services.get(service) ?? { spanCount: 0, errorCount: 0 };
      sum.spanCount += stats.spanCount;
      sum.errorCount += stats.errorCount;
      services.set(service, sum);
    }
  }
  out.spans = spans.sort(compareSpans).slice(0, spansPerTrace);
  out.services = Object.fromEntries(services);
  return out;
}
