/**
 * Formats search results as Tempo's JSON. Grafana rejects a whole response for one unknown key, so
 * only the keys below may be written.
 */
import { setImmediate } from "node:timers/promises";
import type { SpanAttribute, SpanSummary } from "#pkg/api/api.ts";
import type { MergedTrace, SearchStats } from "#pkg/query/query.ts";

/** Shown for traces whose root span was not received. The wording is Tempo's. */
const rootMissing = "<root span not yet received>";
const uint32Max = 4_294_967_295n;
/** About 1 ms of work. */
const tracesPerTurn = 500;

/**
 * Formats a search response. Yields to the event loop after every 500 traces, so that a large
 * response does not block it.
 */
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

/** Returns keys whose values have different types. A column of a Grafana table has one type. */
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

/** Formats a trace; without span sets if `mixed` is undefined. */
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

/** Formats as in OTLP/JSON: integers and non-finite doubles are strings. */
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

/** Formats a time, which is unsigned on the wire. */
function unsigned(nano: bigint): string {
  return String(BigInt.asUintN(64, nano));
}

/** Returns the `metrics` of a response. */
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
