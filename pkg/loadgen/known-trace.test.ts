import * as fc from "fast-check";
import { expect, test } from "vitest";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import type { ResourceSpans } from "#pkg/otlp/trace-data.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import { parseQuery } from "#pkg/traceql/traceql.ts";
import { compareWithKnown, type KnownTrace, makeKnownTrace } from "./known-trace.ts";

const startMs = 1_790_000_000_000;

function contentOf({ requests }: KnownTrace): ResourceSpans[] {
  return requests.flatMap((body) => decodeTraceData(body).resourceSpans);
}

test("a known trace is reproduced from seed, number and time", () => {
  const anyNumber = fc.integer({ min: 0, max: 1e9 });
  fc.assert(
    fc.property(anyNumber, anyNumber, (seed, number) => {
      const known = makeKnownTrace({ seed, number, startMs });
      expect(makeKnownTrace({ seed, number, startMs })).toEqual(known);
      const resourceSpans = contentOf(known);
      expect(compareWithKnown(known, { resourceSpans })).toEqual({ missing: [], unexpected: [] });
      const counts = known.requests.map((body) => splitRequest(body, { partitionCount: 1 }));
      expect(counts[0].acceptedSpans + counts[1].acceptedSpans).toBe(known.spanCount);
      expect(counts[0].rejectedSpans + counts[1].rejectedSpans).toBe(0);
      for (const { traceQl } of known.queries) parseQuery(traceQl);
    }),
  );
});

test("any change of a span is detected", () => {
  const known = makeKnownTrace({ seed: 1, number: 2, startMs });
  const change = (edit: (spans: ResourceSpans[]) => void): { missing: string[] } => {
    const resourceSpans = contentOf(known);
    edit(resourceSpans);
    return compareWithKnown(known, { resourceSpans });
  };
  const span = (all: ResourceSpans[]): ResourceSpans["scopeSpans"][0]["spans"][0] =>
    all[0].scopeSpans[0].spans[0];
  const edits: ((all: ResourceSpans[]) => void)[] = [
    (all) => (span(all).name += "x"),
    (all) => (span(all).flags = 0),
    (all) => (span(all).endTimeUnixNano += 1n),
    (all) => span(all).attributes.pop(),
    (all) => (span(all).status.code = 0),
    (all) => (all[0].resource.attributes[1].value = { kind: "bool", value: true }),
    (all) => (all[0].scopeSpans[0].scope.version = "9"),
    (all) => (all[0].scopeSpans[0].schemaUrl = ""),
  ];
  for (const edit of edits) {
    expect(change(edit).missing.length, edit.toString()).toBeGreaterThan(0);
  }
});

test("a duplicate span is unexpected", () => {
  const known = makeKnownTrace({ seed: 1, number: 2, startMs });
  const resourceSpans = contentOf(known);
  const twice = { resourceSpans: [...resourceSpans, resourceSpans[0]] };
  const { missing, unexpected } = compareWithKnown(known, twice);
  expect(missing).toEqual([]);
  expect(unexpected).toHaveLength(resourceSpans[0].scopeSpans[0].spans.length);
});
