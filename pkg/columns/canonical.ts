/** Spans as canonical text, so that tests and `spoor verify` can compare two sets of spans. */
import { formatTraceJson, type KeyValue, type TraceData } from "#pkg/otlp/otlp.ts";

/** Returns one text per span with its resource and scope, sorted. Ignores the attribute order. */
export function canonicalSpans(data: TraceData): string[] {
  const out: string[] = [];
  for (const resourceSpans of data.resourceSpans) {
    for (const scopeSpans of resourceSpans.scopeSpans) {
      for (const span of scopeSpans.spans) {
        const { resource, schemaUrl } = resourceSpans;
        const { scope } = scopeSpans;
        const parentIsNone = span.parentSpanId.every((byte) => byte === 0);
        const one: TraceData = {
          resourceSpans: [
            {
              resource: { ...resource, attributes: sorted(resource.attributes) },
              schemaUrl,
              scopeSpans: [
                {
                  scope: { ...scope, attributes: sorted(scope.attributes) },
                  schemaUrl: scopeSpans.schemaUrl,
                  spans: [
                    {
                      ...span,
                      parentSpanId: parentIsNone ? new Uint8Array(0) : span.parentSpanId,
                      attributes: sorted(span.attributes),
                    },
                  ],
                },
              ],
            },
          ],
        };
        out.push(
          formatTraceJson(one, { dialect: "otlp", key: "resourceSpans" }) +
            JSON.stringify(resource.entityRefs),
        );
      }
    }
  }
  return out.sort();
}

function sorted(attributes: readonly KeyValue[]): KeyValue[] {
  const text = ({ key, value }: KeyValue): string =>
    JSON.stringify([key, value], (_, inner: unknown) =>
      typeof inner === "bigint"
        ? `${inner}n`
        : typeof inner === "number"
          ? Object.is(inner, -0)
            ? "-0"
            : String(inner)
          : inner,
    );
  return [...attributes].sort((a, b) => (text(a) < text(b) ? -1 : 1));
}
