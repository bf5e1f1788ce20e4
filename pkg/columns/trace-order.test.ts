import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { Span } from "#pkg/otlp/trace-data.ts";
import { Head, type HeadData } from "./head.ts";
import { HeadDecoder } from "./head-decode.ts";
import { orderSpans, type SpanOrder } from "./trace-order.ts";

interface Sent {
  trace: number;
  startNano: bigint;
}

const hour = 3_600_000_000_000n;
const now = 1_763_800_000_000_000_000n;
const startNano: fc.Arbitrary<bigint> = fc.oneof(
  { weight: 20, arbitrary: fc.bigInt({ min: now, max: now + 30n }) },
  { weight: 2, arbitrary: fc.bigInt({ min: now - 40n * hour, max: now + 40n * hour }) },
  { weight: 1, arbitrary: fc.constantFrom(0n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 63n - 1n, 1n) },
);
const sent: fc.Arbitrary<Sent[]> = fc.array(
  fc.record({ trace: fc.oneof(fc.nat({ max: 6 }), fc.nat({ max: 60 })), startNano }),
  { maxLength: 120 },
);
/** Long traces, where another sort is used. */
const fewTraces: fc.Arbitrary<Sent[]> = fc.array(
  fc.record({ trace: fc.nat({ max: 1 }), startNano }),
  { minLength: 60, maxLength: 120 },
);

const plausible = { plausibleFromNano: now - 24n * hour, plausibleToNano: now + hour };

function headOf(spans: readonly Sent[]): HeadData {
  const blank = {
    traceState: "",
    parentSpanId: new Uint8Array(0),
    name: "",
    kind: 0,
    endTimeUnixNano: 0n,
    attributes: [],
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: [],
    droppedLinksCount: 0,
    status: { message: "", code: 0 },
    flags: 0,
  };
  const head = new Head(1);
  const all = spans.map(({ trace, startNano: start }, i): Span => ({
    ...blank,
    traceId: new Uint8Array(16).fill(trace + 1),
    spanId: Buffer.from((i + 1).toString(16).padStart(16, "0"), "hex"),
    startTimeUnixNano: start,
  }));
  const scope = { name: "", version: "", attributes: [], droppedAttributesCount: 0 };
  const resource = { attributes: [], droppedAttributesCount: 0, entityRefs: [] };
  new HeadDecoder(head).decode(
    encodeTraceData({
      resourceSpans: [
        { resource, scopeSpans: [{ scope, spans: all, schemaUrl: "" }], schemaUrl: "" },
      ],
    }),
  );
  return head.freeze();
}

const signed = ({ startNano: start }: Sent): bigint => BigInt.asIntN(64, start);

/** The oracle: row groups of traces of rows, by sorting arrays of objects. */
function plainOrder(
  spans: readonly Sent[],
  rowGroupSpans: number,
  keep: (row: number) => boolean,
): number[][][] {
  const traces = new Map<number, number[]>();
  spans.forEach(({ trace }, row) => {
    // Traces that start together are in order of their first spans, whether these are kept or not.
    if (!traces.has(trace)) traces.set(trace, []);
    if (keep(row)) traces.get(trace)!.push(row);
  });
  const all = [...traces.values()].filter((rows) => rows.length > 0);
  const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
  for (const rows of all) rows.sort((a, b) => compare(signed(spans[a]), signed(spans[b])));
  const first = (rows: number[]): bigint => signed(spans[rows[0]]);
  const isOdd = (rows: number[]): boolean =>
    first(rows) < plausible.plausibleFromNano ||
    signed(spans[rows.at(-1)!]) >= plausible.plausibleToNano;
  const groups: number[][][] = [];
  for (const odd of [false, true]) {
    const kind = all.filter((rows) => isOdd(rows) === odd);
    kind.sort((a, b) => compare(first(a), first(b)));
    let group: number[][] | undefined;
    for (const rows of kind) {
      if (group === undefined || group.flat().length + rows.length > rowGroupSpans) {
        groups.push((group = []));
      }
      group.push(rows);
    }
  }
  return groups;
}

function nested({ rowIds, traceStarts, rowGroups }: SpanOrder): number[][][] {
  return rowGroups.map(({ firstTrace, endTrace }) => {
    const traces: number[][] = [];
    for (let i = firstTrace; i < endTrace; i++) {
      traces.push([...rowIds.subarray(traceStarts[i], traceStarts[i + 1])]);
    }
    return traces;
  });
}

describe("orderSpans", () => {
  it("equals plain sorting", () => {
    const keeps = fc.option(fc.infiniteStream(fc.integer({ min: 0, max: 3 })), { nil: undefined });
    fc.assert(
      fc.property(
        fc.oneof(sent, fewTraces),
        fc.integer({ min: 1, max: 40 }),
        keeps,
        (spans, rowGroupSpans, dice) => {
          const keep = dice && Uint8Array.from(spans, () => (dice.next().value === 0 ? 0 : 1));
          const order = orderSpans(headOf(spans), { ...plausible, rowGroupSpans }, keep);
          const expected = plainOrder(spans, rowGroupSpans, (row) => keep?.[row] !== 0);
          expect(nested(order)).toEqual(expected);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("puts a trace that is longer than a row group into a row group of its own", () => {
    const spans = Array.from({ length: 50 }, (_, i) => ({
      trace: i % 10 === 0 ? i : 5,
      startNano: now + BigInt(i),
    }));
    const order = orderSpans(headOf(spans), { ...plausible, rowGroupSpans: 8 });
    expect(nested(order).map((group) => group.map((rows) => rows.length))).toEqual([
      [1],
      [45],
      [1, 1, 1, 1],
    ]);
  });
});

it("splits the newest traces of a large row group into small row groups", () => {
  const spansOf = (traces: number, perTrace: number): Sent[] =>
    Array.from({ length: traces * perTrace }, (_, i) => {
      const trace = Math.floor(i / perTrace);
      return { trace, startNano: now + BigInt(trace * 1000 + (i % perTrace)) };
    });
  const sizesOf = (spans: readonly Sent[], rowGroupSpans: number): number[] => {
    const { rowGroups, traceStarts } = orderSpans(headOf(spans), { ...plausible, rowGroupSpans });
    return rowGroups.map(({ firstTrace, endTrace }) => {
      return traceStarts[endTrace] - traceStarts[firstTrace];
    });
  };
  expect(sizesOf(spansOf(200, 200), 100_000)).toEqual([30_600, 8200, 1200]);
  expect(sizesOf(spansOf(200, 200), 35_000)).toEqual([35_000, 5000]);
  expect(sizesOf(spansOf(150, 200), 100_000)).toEqual([30_000]);
  expect(sizesOf(spansOf(2, 20_000), 100_000)).toEqual([20_000, 20_000]);
  expect(sizesOf(spansOf(1, 40_000), 100_000)).toEqual([40_000]);
  // A trace with a bad clock still comes last.
  const bad = { trace: 250, startNano: 1n };
  expect(sizesOf([bad, ...spansOf(200, 200)], 100_000)).toEqual([30_600, 8200, 1200, 1]);
});
