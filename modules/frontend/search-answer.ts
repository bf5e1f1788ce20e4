/**
 * Search results as Tempo's JSON. Grafana refuses a whole answer for one key that it does not know:
 * only the keys below are ever written.
 */
import { setImmediate } from "node:timers/promises";
import type { SpanSummary } from "#pkg/api/query.ts";
import type { MergedTrace } from "./details-of-trace.ts";
import type { SearchStats } from "./search.ts";

/** Shown for traces whose root span has not come (Tempo's words, known to Grafana's users). */
const rootMissing = "<root span not yet received>";
const uint32Max = 4_294_967_295n;
/** About 1 ms of work. */
const tracesPerTurn = 500;

/** The answer as text. Gives way to other work in between: large answers do not stop the thread. */
export async function formatSearch(
  traces: readonly MergedTrace[],
  stats: SearchStats,
): Promise<string> {
  const parts: string[] = [];
  for (const [i, trace] of traces.entries()) {
    parts.push(JSON.stringify(traceJson(trace)));
    if (i % tracesPerTurn === tracesPerTurn - 1) await setImmediate();
  }
  return `{"traces":[${parts.join(",")}],"metrics":${JSON.stringify(metricsJson(stats))}}`;
}

function traceJson(trace: MergedTrace): object {
  const spanSet = { spans: trace.spans.map(spanJson), matched: trace.matchedSpans };
  const durationMs = (trace.endNano - trace.startNano) / 1_000_000n;
  return {
    traceID: trace.traceId,
    rootServiceName: trace.root?.service ?? rootMissing,
    rootTraceName: trace.root?.name ?? "",
    startTimeUnixNano: unsigned(trace.startNano),
    durationMs: Number(durationMs < uint32Max ? durationMs : uint32Max),
    spanSet,
    spanSets: [spanSet],
    serviceStats: Object.fromEntries(
      Object.entries(trace.services).map(([service, { spanCount, errorCount }]) => [
        service,
        errorCount > 0 ? { spanCount, errorCount } : { spanCount },
      ]),
    ),
  };
}

function spanJson({ spanId, name, startNano, durationNano }: SpanSummary): object {
  return {
    spanID: spanId,
    name,
    startTimeUnixNano: unsigned(startNano),
    durationNanos: String(durationNano),
  };
}

/** Times are unsigned on the wire. */
function unsigned(nano: bigint): string {
  return String(BigInt.asUintN(64, nano));
}

function metricsJson(stats: SearchStats): object {
  return {
    inspectedTraces: stats.inspectedTraces,
    inspectedBytes: String(stats.inspectedBytes),
    totalBlocks: stats.totalBlocks,
    completedJobs: stats.completedJobs,
    totalJobs: stats.totalJobs,
    totalBlockBytes: String(stats.totalBlockBytes),
    inspectedSpans: String(stats.inspectedSpans),
  };
}
