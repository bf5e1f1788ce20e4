/** Test support: a simple search over all spans in one array, the oracle of search.ts. */
import type { SpanAttribute, TimeRange } from "#pkg/api/query.ts";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import type { MergedTrace } from "#pkg/query/merge-details.ts";

function endOf({ startNano, endNano }: SpanSpec): bigint {
  return endNano > startNano ? endNano : startNano;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function byNano(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A condition as TraceQL and as plain code. */
export interface Condition {
  text: string;
  holds: (span: SpanSpec, trace: readonly SpanSpec[]) => boolean;
  /** The attributes that a search lists for a span that matches. */
  shows: (span: SpanSpec, trace: readonly SpanSpec[]) => SpanAttribute[];
}

export interface OracleOptions {
  limit: number;
  spansPerTrace: number;
  condition?: Condition;
}

export function oracleSearch(
  all: readonly SpanSpec[],
  range: TimeRange,
  { limit, spansPerTrace, condition }: OracleOptions,
): MergedTrace[] {
  const distinct = new Map<string, SpanSpec>();
  for (const span of all) {
    const key = JSON.stringify(span, (_, value: unknown) =>
      typeof value === "bigint" ? String(value) : value,
    );
    distinct.set(key, span);
  }
  const traces = new Map<string, SpanSpec[]>();
  for (const span of distinct.values()) {
    if (span.startNano >= range.endNano || endOf(span) < range.startNano) continue;
    traces.set(span.traceId, [...(traces.get(span.traceId) ?? []), span]);
  }
  return [...traces]
    .filter(
      ([, spans]) => condition === undefined || spans.some((span) => condition.holds(span, spans)),
    )
    .map(([traceId, spans]) => describeTrace(traceId, spans, { spansPerTrace, condition }))
    .sort((a, b) => byNano(b.startNano, a.startNano) || byText(a.traceId, b.traceId))
    .slice(0, limit);
}

function describeTrace(
  traceId: string,
  spans: SpanSpec[],
  { spansPerTrace, condition }: Omit<OracleOptions, "limit">,
): MergedTrace {
  const sorted = [...spans].sort(
    (a, b) =>
      byNano(a.startNano, b.startNano) ||
      byText(a.spanId, b.spanId) ||
      byText(a.name ?? "", b.name ?? "") ||
      byNano(endOf(a), endOf(b)) ||
      byText(shownText(a, spans, condition), shownText(b, spans, condition)),
  );
  const matched = sorted.filter((span) => condition === undefined || condition.holds(span, spans));
  const roots = spans
    .filter(({ parentId }) => parentId === undefined)
    .map(({ spanId, service = "", name = "", startNano }) => ({ spanId, service, name, startNano }))
    .sort(
      (a, b) =>
        byNano(a.startNano, b.startNano) ||
        byText(a.spanId, b.spanId) ||
        byText(a.service, b.service) ||
        byText(a.name, b.name),
    );
  const names = [...new Set(spans.map(({ service = "" }) => service))];
  const services = names.map((name) => {
    const own = spans.filter(({ service = "" }) => service === name);
    const errorCount = own.filter(({ isError }) => isError === true).length;
    return [name, { spanCount: own.length, errorCount }] as const;
  });
  return {
    traceId,
    startNano: sorted[0].startNano,
    endNano: spans.map(endOf).reduce((a, b) => (b > a ? b : a)),
    root: roots[0],
    matchedSpans: matched.length,
    services: Object.fromEntries(services),
    spans: matched.slice(0, spansPerTrace).map((span) => ({
      spanId: span.spanId,
      name: span.name ?? "",
      startNano: span.startNano,
      durationNano: endOf(span) - span.startNano,
      ...(condition === undefined ? {} : { attributes: condition.shows(span, spans) }),
    })),
  };
}

/** Returns the last sort key of spans, for spans that are equal in all other fields. */
function shownText(
  span: SpanSpec,
  trace: readonly SpanSpec[],
  condition: Condition | undefined,
): string {
  const shown = condition?.shows(span, trace) ?? [];
  return shown.map(({ key, value }) => `${key}\0${typeof value}\0${value}`).join("\0");
}
