import fc from "fast-check";
import { expect, it } from "vitest";
import type { TraceList } from "#pkg/api/query.ts";
import { HeadBatch } from "#pkg/columns/head-batch.ts";
import { parseLeniently } from "#pkg/traceql/traceql.ts";
import { listHead } from "./list-head.ts";
import { listTraces } from "./list-traces.ts";
import { nthLargest } from "./nth-largest.ts";
import { planOf } from "#pkg/engine/condition/plan.ts";
import { batchOfHead, headOf, type SpanSpec } from "#pkg/engine/testing/spans.ts";

const traces = 3000;
const spansPerTrace = 4;

/** Traces start 100 ns apart; each ends with a late span; some arrive long after they started. */
function spec(i: number): SpanSpec {
  const trace = i % traces;
  const part = Math.floor(i / traces);
  const startNano = BigInt(((trace * 7919) % traces) * 100 + part * 10_000);
  return {
    traceId: (trace + 1).toString(16).padStart(32, "0"),
    spanId: (i + 1).toString(16).padStart(16, "0"),
    parentId: part === 0 ? undefined : (trace + 1).toString(16).padStart(16, "0"),
    service: `service-${trace % 7}`,
    name: part === 0 ? "first" : "later",
    startNano,
    endNano: startNano + 5n,
    attributes: { rare: BigInt(trace % 500), zero: 0n },
  };
}

const head = headOf(Array.from({ length: traces * spansPerTrace }, (_, i) => spec(i)));
const all = { startNano: 0n, endNano: 2n ** 62n };

function lists(text: string, range: { startNano: bigint; endNano: bigint }, enough: number) {
  const { filter } = parseLeniently(text);
  const isInside = range === all;
  const request = { ...range, limit: 5000, enough, plan: planOf(filter) };
  const options = { isInside };
  return {
    early: listHead(batchOfHead(head), request, options),
    whole: listTraces(batchOfHead(head), request, options),
  };
}

function pairsOf({ ids, startNanos }: Pick<TraceList, "ids" | "startNanos">): string[] {
  return Array.from(startNanos, (start, i) => {
    return `${start} ${Buffer.from(ids.subarray(i * 16, i * 16 + 16)).toString("hex")}`;
  });
}

const ranges = [
  all,
  { startNano: 0n, endNano: 150_000n },
  { startNano: 120_000n, endNano: 2n ** 62n },
  { startNano: 250_002n, endNano: 290_001n },
];

it.each([
  "{ true }",
  '{ resource.service.name = "service-3" }',
  "{ span.rare = 77 }",
  '{ name = "later" }',
  "{ span.rare = -1 }",
  "{ trace:duration > 20us }",
  '{ rootName = "first" && span.rare = 3 }',
  "{ span:childCount > 2 }",
])("%s: an early end has the first traces of the whole list, in their order", (text) => {
  for (const range of ranges) {
    for (const enough of [1, 20, 300]) {
      const { early, whole } = lists(text, range, enough);
      const found = pairsOf(early);
      expect(found).toEqual(pairsOf(whole).slice(0, found.length));
      if (!early.truncated) {
        expect(found.length).toBe(whole.startNanos.length);
        continue;
      }
      expect(found.length).toBeGreaterThanOrEqual(enough);
      // The maybes are exactly those before the last match.
      const maybes = pairsOf(
        early.maybes ?? { ids: new Uint8Array(0), startNanos: new BigInt64Array(0) },
      );
      const last = early.startNanos.at(-1)!;
      const before = whole.maybes === undefined ? [] : pairsOf(whole.maybes);
      expect(maybes).toEqual(before.slice(0, maybes.length));
      const next = before[maybes.length];
      if (next !== undefined) expect(BigInt(next.split(" ")[0])).toBeLessThanOrEqual(last);
    }
  }
});

it("a frequent condition is evaluated only on the newest traces", () => {
  expect(lists("{ true }", all, 20).early.inspectedSpans).toBeLessThanOrEqual(128 * spansPerTrace);
  const { early } = lists('{ resource.service.name = "service-3" }', all, 15);
  expect(early.inspectedSpans).toBeLessThanOrEqual(128 * spansPerTrace);
  expect(early.startNanos.length).toBeGreaterThanOrEqual(15);
});

it("a condition that can fail is evaluated on all spans", () => {
  expect(() => lists("{ 1 / span.zero > 0 }", all, 1)).toThrow("division by zero");
});

it("a batch of some rows of a head is evaluated completely", () => {
  const part = new HeadBatch(
    head,
    Uint32Array.from({ length: 9000 }, (_, row) => row),
  );
  const request = { ...all, limit: 5000, enough: 1 };
  expect(listHead(part, request, { isInside: true })).toEqual(
    listTraces(part, request, { isInside: true }),
  );
});

it("the n-th largest number equals that of the sorted list", () => {
  const number = fc.oneof(
    fc.integer({ min: -5, max: 5 }),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => one + 0),
    fc.constant(Number.NEGATIVE_INFINITY),
  );
  fc.assert(
    fc.property(fc.array(number, { minLength: 1, maxLength: 200 }), fc.nat(), (numbers, nat) => {
      const n = (nat % numbers.length) + 1;
      const sorted = Float64Array.from(numbers).sort();
      expect(nthLargest(Float64Array.from(numbers), n)).toBe(sorted[sorted.length - n]);
    }),
  );
  const same = new Float64Array(10_000).fill(3);
  expect(nthLargest(same, 5000)).toBe(3);
});
