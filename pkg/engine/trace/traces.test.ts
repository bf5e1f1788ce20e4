import { compareRoots } from "#pkg/columns/trace-root.ts";
import fc from "fast-check";
import { ownBuffers } from "#pkg/bytes/own-buffers.ts";
import { describe, expect, it } from "vitest";
import { batchOf, type Column, type ColumnBatch } from "#pkg/columns/column-batch.ts";
import { HeadBatch } from "#pkg/columns/head-batch.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { listTraces } from "./list-traces.ts";
import { batchOfHead, headOf, type SpanSpec } from "#pkg/engine/testing/spans.ts";
import { compareSpans, findTrace, heldTraces, traceDetails, traceRows } from "./traces.ts";

const range = { startNano: 100n, endNano: 200n };

function idOf(n: number): string {
  return n.toString(16).padStart(32, "0");
}

function bytesOf(...numbers: number[]): Uint8Array {
  return Buffer.concat(numbers.map((n) => Buffer.from(idOf(n), "hex")));
}

function spanOf(trace: number, start: number, end: number, more: Partial<SpanSpec> = {}): SpanSpec {
  const spanId = "0000000000000001";
  const times = { startNano: BigInt(start), endNano: BigInt(end) };
  return { traceId: idOf(trace), spanId, service: "s", name: "n", ...times, ...more };
}

function batch(...specs: SpanSpec[]): ColumnBatch {
  return batchOfHead(headOf(specs));
}

describe("listTraces", () => {
  it("counts spans that overlap the range: its end is not in it, its start is", () => {
    const spans = batch(
      spanOf(1, 50, 99),
      spanOf(2, 50, 100),
      spanOf(3, 199, 300),
      spanOf(4, 200, 300),
      spanOf(5, 100, 100),
      // An end before the start counts as the start.
      spanOf(6, 150, 10),
    );
    const { ids, startNanos } = listTraces(spans, { ...range, limit: 10 });
    expect(Buffer.from(ids)).toEqual(bytesOf(3, 6, 5, 2));
    expect([...startNanos]).toEqual([199n, 150n, 100n, 50n]);
  });

  it("takes a trace's start from its spans in the range alone", () => {
    const spans = batch(spanOf(1, 10, 20), spanOf(1, 150, 160), spanOf(1, 120, 130));
    expect([...listTraces(spans, { ...range, limit: 1 }).startNanos]).toEqual([120n]);
  });

  it("orders ties by id, and reports truncation", () => {
    const spans = batch(spanOf(9, 150, 160), spanOf(3, 150, 160), spanOf(5, 150, 160));
    const two = listTraces(spans, { ...range, limit: 2 });
    expect([Buffer.from(two.ids), two.truncated]).toEqual([bytesOf(3, 5), true]);
    expect(listTraces(spans, { ...range, limit: 3 }).truncated).toBe(false);
    expect(two.inspectedSpans).toBe(3);
  });

  it("finds the newest of very many, in any order, across word boundaries", () => {
    // Around multiples of 2^32, where the words of two times compare differently.
    const time = fc
      .tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: -40, max: 40 }))
      .map(([high, low]) => 2n ** 60n + BigInt(high) * 2n ** 32n + BigInt(low));
    const edge = fc.oneof({ weight: 4, arbitrary: time }, fc.constantFrom(-1n, 0n, 2n ** 64n));
    const spans = fc.array(fc.tuple(time, fc.constantFrom(0n, 1n, 30n, 2n ** 32n)), {
      minLength: 1,
      maxLength: 900,
      size: "max",
    });
    const limits = fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 1000 }));
    const orders = fc.constantFrom(1, 0, -1);
    fc.assert(
      fc.property(spans, edge, edge, limits, orders, (times, startNano, endNano, limit, order) => {
        const sorted = times.toSorted(([a], [b]) => order * Number(a - b));
        const specs = sorted.map(([start, duration], i) =>
          spanOf(i + 1, 0, 0, { startNano: start, endNano: start + duration }),
        );
        const expected = specs
          .filter((spec) => spec.startNano < endNano && spec.endNano >= startNano)
          .sort((a, b) => Number(b.startNano - a.startNano) || (a.traceId < b.traceId ? -1 : 1));
        const list = listTraces(batch(...specs), { startNano, endNano, limit });
        const ids = expected.slice(0, limit).map(({ traceId }) => traceId);
        expect(Buffer.from(list.ids).toString("hex")).toBe(ids.join(""));
        expect(list.truncated).toBe(expected.length > limit);
      }),
    );
  });

  it("throws Corrupt if columns are missing", () => {
    expect(() => listTraces(batchOf(0, new Map()), { ...range, limit: 1 })).toThrow("lacks");
  });
});

describe("traceDetails", () => {
  const details = (spans: ColumnBatch, ids: Uint8Array, spansPerTrace = 3): unknown[] =>
    traceDetails(spans, { ...range, ids, spansPerTrace });

  it("describes the requested traces that exist", () => {
    const root = spanOf(1, 150, 180, { spanId: "00000000000000aa", name: "root" });
    const early = spanOf(1, 120, 130, { parentId: "00000000000000aa", isError: true });
    const outside = spanOf(1, 10, 20, { spanId: "00000000000000bb", name: "outside" });
    const spans = batch(root, early, outside, spanOf(2, 150, 160), spanOf(3, 10, 20));
    expect(details(spans, bytesOf(1, 3, 4))).toEqual([
      {
        traceId: idOf(1),
        startNano: 120n,
        endNano: 180n,
        root: { spanId: "00000000000000aa", service: "s", name: "root", startNano: 150n },
        spans: [
          { spanId: "0000000000000001", name: "n", startNano: 120n, durationNano: 10n },
          { spanId: "00000000000000aa", name: "root", startNano: 150n, durationNano: 30n },
        ],
        matchedSpans: 2,
        fingerprints: expect.any(BigUint64Array),
        services: { s: { spanCount: 2, errorCount: 1 } },
      },
    ]);
  });

  it("has no root if all spans have a parent", () => {
    const parentId = "00000000000000ff";
    expect(details(batch(spanOf(1, 150, 160, { parentId })), bytesOf(1))).toMatchObject([
      { root: undefined },
    ]);
  });

  it("lists as many spans as requested, ties by their fields", () => {
    const spec = fc
      .record({ id: fc.integer({ min: 1, max: 3 }), start: fc.integer({ min: 100, max: 103 }) })
      .chain(({ id, start }) =>
        fc.record({
          spanId: fc.constant(id.toString(16).padStart(16, "0")),
          name: fc.constantFrom("a", "b"),
          end: fc.integer({ min: start, max: start + 2 }),
          start: fc.constant(start),
        }),
      );
    fc.assert(
      fc.property(
        fc.array(spec, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 0, max: 6 }),
        (specs, count) => {
          const all = specs.map(({ start, end, ...rest }) => spanOf(1, start, end, rest));
          const [found] = traceDetails(batch(...all), {
            ...range,
            ids: bytesOf(1),
            spansPerTrace: count,
          });
          const expected = all.map(({ spanId, name = "", startNano, endNano }) => {
            return { spanId, name, startNano, durationNano: endNano - startNano };
          });
          expect(found.spans).toEqual(expected.sort(compareSpans).slice(0, count));
          const roots = expected.map((span) => ({ ...span, service: "s" })).sort(compareRoots);
          expect(found.root).toMatchObject({ spanId: roots[0].spanId, name: roots[0].name });
        },
      ),
    );
  });

  it("finds the service among the rare attributes if it has no column", () => {
    const specs = [spanOf(1, 150, 160, { service: "shop" }), spanOf(1, 150, 160, { service: "" })];
    const data = headOf(specs);
    const none = new HeadBatch(data, Uint32Array.of(0, 1), new Set());
    expect(none.column("resource.service.name")).toBeUndefined();
    expect(details(none, bytesOf(1))).toEqual(details(batchOfHead(data), bytesOf(1)));
  });
});

describe("fingerprints", () => {
  const printOf = (spec: SpanSpec, others: SpanSpec[] = []): bigint => {
    const request = { startNano: 0n, endNano: 1n << 60n, ids: bytesOf(1), spansPerTrace: 0 };
    const [found] = traceDetails(batch(...others, spec), request);
    return found.fingerprints.at(-1)!;
  };

  it("are equal in every batch, and differ if any field that is read differs", () => {
    const one = spanOf(1, 150, 160);
    const same = printOf(one);
    expect(printOf(one, [spanOf(2, 1, 2, { name: "x", service: "y", isError: true })])).toBe(same);
    const changed: Partial<SpanSpec>[] = [
      { spanId: "0000000000000002" },
      { parentId: "0000000000000001" },
      { startNano: 151n },
      { endNano: 161n },
      { name: "m" },
      { name: "" },
      { service: "" },
      { service: "n", name: "s" },
      { isError: true },
    ];
    const prints = changed.map((change) => printOf({ ...one, ...change }));
    expect(new Set([same, ...prints]).size).toBe(changed.length + 1);
  });
});

describe("findTrace", () => {
  const spans = batch(spanOf(1, 1, 2), spanOf(2, 1, 2), spanOf(1, 500, 600));

  it("returns a large trace in transferable pieces, never as one buffer", () => {
    const many = batch(...Array.from({ length: 1200 }, (_, i) => spanOf(1, i, i + 1)));
    const pieces = findTrace(many, bytesOf(1));
    const counts = pieces.map((piece) =>
      decodeTraceData(piece)
        .resourceSpans.flatMap(({ scopeSpans }) => scopeSpans)
        .reduce((sum, scope) => sum + scope.spans.length, 0),
    );
    expect(counts).toEqual([500, 500, 200]);
    expect(new Set(ownBuffers(pieces)).size).toBe(3);
  });

  it("returns all spans of a trace, at any time", () => {
    const found = decodeTraceData(findTrace(spans, bytesOf(1))[0]);
    expect(found.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans[0].spans)).toHaveLength(2);
    expect(findTrace(spans, bytesOf(3))).toEqual([]);
    expect([...traceRows(spans, bytesOf(1))]).toEqual([0, 2]);
  });

  it("reads only ids to find which traces there are", () => {
    const ids: [string, Column][] = [["trace_id", spans.column("trace_id")!]];
    const only = batchOf(3, new Map(ids));
    expect([...heldTraces(only, bytesOf(3, 2, 1, 2))]).toEqual([0, 1, 1, 1]);
    expect([...heldTraces(only, bytesOf(3, 4))]).toEqual([0, 0]);
    expect(heldTraces(only, new Uint8Array(0))).toHaveLength(0);
  });
});
