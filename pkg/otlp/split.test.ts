import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test, inject } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import { decodeTraceData } from "./decode.ts";
import { encodeTraceData } from "./encode.ts";
import type { Span, TraceData } from "./trace-data.ts";
import { randomTraceData, randomWire } from "./random-otlp.testing.ts";
import { splitRequest, type SplitResult } from "./split.ts";
import { SplitScratch } from "./split-scratch.ts";
import { partitionOf } from "./trace-hash.ts";

const capture = (): Uint8Array => readFileSync("testdata/captures/otel-proto.01.bin");

/** Returns each span with its resource and scope, in order. */
function flatten(data: TraceData): { span: Span; around: unknown }[] {
  return data.resourceSpans.flatMap(({ resource, scopeSpans, schemaUrl }) =>
    scopeSpans.flatMap(({ scope, spans, schemaUrl: scopeSchemaUrl }) =>
      spans.map((span) => ({ span, around: [resource, schemaUrl, scope, scopeSchemaUrl] })),
    ),
  );
}

/** A second, plain implementation of the rules for rejecting a span. */
function reasonOf({ traceId, spanId, parentSpanId }: Span): string | undefined {
  if (traceId.length !== 16 || traceId.every((byte) => byte === 0)) return "invalid_trace_id";
  if (spanId.length !== 8 || spanId.every((byte) => byte === 0)) return "invalid_span_id";
  if (![0, 8].includes(parentSpanId.length)) return "invalid_parent_span_id";
  return undefined;
}

function countBy(values: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

function splitOrRefuse(bytes: Uint8Array, partitionCount: number): SplitResult | undefined {
  try {
    return splitRequest(bytes, { partitionCount });
  } catch (error) {
    if (!hasCode(error, "InvalidInput")) throw error;
    return undefined;
  }
}

function decodes(bytes: Uint8Array): boolean {
  try {
    decodeTraceData(bytes);
    return true;
  } catch (error) {
    if (!hasCode(error, "InvalidInput")) throw error;
    return false;
  }
}

describe("splitRequest", () => {
  const scratch = new SplitScratch();

  test("each valid span is in its partition's record with its envelope, in order, once", () => {
    fc.assert(
      fc.property(randomWire, fc.constantFrom(1, 2, 4, 16), ({ data, bytes }, partitionCount) => {
        const all = flatten(data);
        const valid = all.filter(({ span }) => reasonOf(span) === undefined);
        const reasons = all.flatMap(({ span }) => reasonOf(span) ?? []);
        const result = splitRequest(bytes, { partitionCount, scratch });

        expect(result.acceptedSpans).toBe(valid.length);
        expect(result.rejectedSpans).toBe(reasons.length);
        expect(
          Object.fromEntries(result.rejections.map((one) => [one.reason, one.spanCount])),
        ).toEqual(countBy(reasons));

        const want = Object.groupBy(valid, ({ span }) =>
          partitionOf(span.traceId, 0, partitionCount),
        );
        expect(result.parts.map(({ partition }) => partition)).toEqual(
          Object.keys(want).map(Number),
        );
        for (const { partition, record, spanCount } of result.parts) {
          const found = flatten(decodeTraceData(record));
          expect(found).toEqual(want[partition]);
          expect(spanCount).toBe(found.length);
        }
        expect(result.recordBytes).toBe(
          result.parts.reduce((sum, { record }) => sum + record.length, 0),
        );
      }),
      { numRuns: 150 * inject("depth") },
    );
  });

  test("splitting a record again changes nothing, because it has one partition", () => {
    fc.assert(
      fc.property(randomTraceData, (data) => {
        for (const part of splitRequest(encodeTraceData(data), { partitionCount: 4 }).parts) {
          const again = splitRequest(part.record, { partitionCount: 4, scratch });
          expect(again.parts).toEqual([part]);
          expect(again.parts[0].record).toBe(part.record);
        }
      }),
    );
  });

  test("accepts exactly what the decoder accepts", () => {
    fc.assert(
      fc.property(randomWire, fc.array(fc.tuple(fc.nat(), fc.nat(255))), ({ bytes }, changes) => {
        for (const [at, byte] of changes.slice(0, 3)) {
          if (bytes.length > 0) bytes[at % bytes.length] = byte;
        }
        expect(splitOrRefuse(bytes, 4) !== undefined).toBe(decodes(bytes));
      }),
      { numRuns: 400 * inject("depth") },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(splitOrRefuse(bytes, 4) !== undefined).toBe(decodes(bytes));
      }),
      { numRuns: 1000 * inject("depth") },
    );
  }, 300_000);

  test("truncation at each byte is refused", () => {
    const bytes = capture();
    for (let length = 1; length < bytes.length; length++) {
      expect(splitOrRefuse(bytes.subarray(0, length), 4), `${length} bytes`).toBeUndefined();
    }
  });

  test("an empty request and empty envelopes have no parts", () => {
    const none = { parts: [], acceptedSpans: 0, rejectedSpans: 0, rejections: [], recordBytes: 0 };
    expect(splitRequest(new Uint8Array(), { partitionCount: 4 })).toEqual(none);
    const envelopes = Uint8Array.from([0x0a, 2, 0x12, 0, 0x0a, 0]);
    expect(splitRequest(envelopes, { partitionCount: 4 })).toEqual(none);
  });

  test("valid spans of one partition are not copied", () => {
    const body = capture();
    const [oneOfOne] = splitRequest(body, { partitionCount: 1 }).parts;
    expect(oneOfOne).toMatchObject({ partition: 0, spanCount: 3 });
    expect(oneOfOne.record).toBe(body);
    const result = splitRequest(body, { partitionCount: 16 });
    expect(result.parts).toHaveLength(1);
    expect(result.parts[0].record).toBe(body);
  });

  test("an invalid span alone is dropped, with an example of the error", () => {
    const data = decodeTraceData(capture());
    const { spans } = data.resourceSpans[0].scopeSpans[0];
    spans[0].traceId = new Uint8Array(8);
    spans[1].spanId = new Uint8Array(8);
    spans[2].parentSpanId = new Uint8Array(8);
    const result = splitRequest(encodeTraceData(data), { partitionCount: 4 });
    expect(result.rejections).toEqual([
      { reason: "invalid_trace_id", spanCount: 1, example: "trace id has 8 bytes, not 16" },
      { reason: "invalid_span_id", spanCount: 1, example: "span id is all zero" },
    ]);
    expect(flatten(decodeTraceData(result.parts[0].record)).map(({ span }) => span)).toEqual([
      spans[2],
    ]);
  });

  test("repeating a huge envelope is bounded", () => {
    const data = decodeTraceData(capture());
    const [one] = data.resourceSpans;
    one.schemaUrl = "u".repeat(1 << 20);
    const [span] = one.scopeSpans[0].spans;
    one.scopeSpans[0].spans = Array.from({ length: 200 }, (_, i) => ({
      ...span,
      traceId: new Uint8Array(16).fill(i + 1),
    }));
    const body = encodeTraceData(data);
    expect(splitRequest(body, { partitionCount: 4 }).parts).toHaveLength(4);
    expect(() => splitRequest(body, { partitionCount: 64 })).toThrow(/repeated in partitions/);
  });

  test("a partition count that is not a power of two is an Internal error", () => {
    for (const partitionCount of [0, 3, -4, 2048, Number.NaN]) {
      expect(() => splitRequest(capture(), { partitionCount })).toThrow(/partitions/);
    }
  });
});
