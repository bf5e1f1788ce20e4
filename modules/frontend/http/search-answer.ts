/**
 * Search results as Tempo's JSON. Grafana refuses a whole answer for one key that it does not know:
 * only the keys below are ever written.
 */
import { setImmediate } from "node:timers/promises";
import type { SpanAttribute, SpanSummary } from "#pkg/api/api.ts";
import type { MergedTrace, SearchStats } from "#pkg/query/query.ts";

/** Shown for traces whose root span has not come (Tempo's words, known to Grafana's users). */
const rootMissing = "<root span not yet received>";
const uint32Max = 4_294_967_295n;
/** About 1 ms of work. */
const tracesPerTurn = 500;

/** The answer as text. Gives way to other work in between: large answers do not stop the thread. */
export async function formatSearch(
  traces: readonly MergedTrace[],
  stats: SearchStats,
  hasSpanSets: boolean,
): Promise<string> {
  const mixed = mixedKeys(traces);
  const parts: string[] = [];
  for (const [i, trace] of traces.entries()) {
    parts.push(JSON.stringify(traceJson(trace, hasSpanSets ? mixed : undefined)));
    if (i % tracesPerTurn === tracesPerTurn - 1) await setImmediate();
  }
  return `{"traces":[${parts.join(",")}],"metrics":${JSON.stringify(metricsJson(stats))}}`;
}

/** Keys with values of different types: a table in Grafana has one type per column. */
function mixedKeys(traces: readonly MergedTrace[]): ReadonlySet<string> {
  const types = new Map<string, string>();
  const mixed = new Set<string>();
  for (const { spans } of traces) {
    for (const { key, value } of spans.flatMap(({ attributes = [] }) => attributes)) {
      const type = types.get(key) ?? typeof value;
      types.set(key, type);
      if (type !== typeof value) mixed.add(key);
    }
  }
  return mixed;
}

/** Without `mixed`, without span sets. */
function traceJson(trace: MergedTrace, mixed: ReadonlySet<string> | undefined): object {
  const durationMs = (trace.endNano - trace.startNano) / 1_000_000n;
  return {
    traceID: trace.traceId,
    rootServiceName: trace.root?.service ?? rootMissing,
    rootTraceName: trace.root?.name ?? "",
    startTimeUnixNano: unsigned(trace.startNano),
    durationMs: Number(durationMs < uint32Max ? durationMs : uint32Max),
    ...(mixed === undefined ? {} : spanSetsJson(trace, mixed)),
    serviceStats: Object.fromEntries(
      Object.entries(trace.services).map(([service, { spanCount, errorCount }]) => [
        service,
        errorCount > 0 ? { spanCount, errorCount } : { spanCount },
      ]),
    ),
  };
}

function spanSetsJson(trace: MergedTrace, mixed: ReadonlySet<string>): object {
  const spans = trace.spans.map((span) => spanJson(span, mixed));
  const spanSet = { spans, matched: trace.matchedSpans };
  return { spanSet, spanSets: [spanSet] };
}

function spanJson(span: SpanSummary, mixed: ReadonlySet<string>): object {
  const { attributes = [] } = span;
  return {
    spanID: span.spanId,
    name: span.name,
    startTimeUnixNano: unsigned(span.startNano),
    durationNanos: String(span.durationNano),
    ...(attributes.length === 0
      ? {}
      : { attributes: attributes.map((one) => attributeJson(one, mixed.has(one.key))) }),
  };
}

function attributeJson({ key, value }: SpanAttribute, isMixed: boolean): object {
  return { key, value: isMixed ? { stringValue: String(value) } : valueJson(value) };
}

/** As in OTLP/JSON: an integer is text, and so is a double that JSON has no number for. */
function valueJson(value: SpanAttribute["value"]): object {
  switch (typeof value) {
    case "string":
      return { stringValue: value };
    case "bigint":
      return { intValue: String(value) };
    case "boolean":
      return { boolValue: value };
    default:
      return { doubleValue: Number.isFinite(value) ? value : String(value) };
  }
}

/** Times are unsigned on the wire. */
function unsigned(nano: bigint): string {
  return String(BigInt.asUintN(64, nano));
}

/** The `metrics` of an answer. */
export function metricsJson(stats: SearchStats): object {
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
