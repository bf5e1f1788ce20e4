import { expect, test } from "vitest";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { Span, TraceData } from "#pkg/otlp/otlp.ts";
import { traceDataOf } from "#pkg/engine/testing.ts";
import { SeededRandom } from "#pkg/loadgen/random.ts";
import { mergeTraces } from "./merge-trace.ts";
import { decodeSpan, type DecodeSpan, mergeWire } from "./merge-wire.ts";
import { traceAnswerChunks } from "./trace-answer.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const mebibyte = 1024 * 1024;

function randomOf(seed: number): () => number {
  const random = new SeededRandom(seed);
  return () => random.float();
}

/** A trace of some spans, some with keys out of order, two services, and few start times. */
function makeTrace(count: number, random: () => number, bytes = 10): TraceData {
  const data = traceDataOf(
    Array.from({ length: count }, (_, i) => ({
      traceId,
      spanId: (i + 1).toString(16).padStart(16, "0"),
      name: `span ${i}`,
      service: random() < 0.5 ? "shop" : "stock",
      startNano: BigInt(Math.floor(random() * 4)),
      endNano: 9n,
      attributes: { z: "z".repeat(bytes), a: String(i), m: BigInt(i) },
    })),
  );
  return data;
}

/** The trace cut at random into pieces, with some of its spans in two of them. */
function cut({ resourceSpans }: TraceData, random: () => number): Uint8Array[] {
  const pieces: TraceData[] = [0, 1, 2].map(() => ({ resourceSpans: [] }));
  for (const resource of resourceSpans) {
    for (const scope of resource.scopeSpans) {
      for (const span of scope.spans) {
        const one = { ...resource, scopeSpans: [{ ...scope, spans: [span] }] };
        pieces[Math.floor(random() * 3)].resourceSpans.push(one);
        if (random() < 0.2) pieces[Math.floor(random() * 3)].resourceSpans.push(one);
      }
    }
  }
  return pieces.map((piece) => encodeTraceData(piece));
}

test("pieces merged on the wire are the pieces merged as objects", () => {
  const random = randomOf(5);
  for (let round = 0; round < 40; round++) {
    const pieces = cut(makeTrace(1 + Math.floor(random() * 30), random), random);
    const merged = mergeWire(pieces).map((one) => ({
      ...one,
      scopeSpans: one.scopeSpans.map((scope) => ({ ...scope, spans: scope.spans.map(decodeSpan) })),
    }));
    const expected = mergeTraces(pieces.map((piece) => decodeTraceData(piece)));
    expect({ resourceSpans: merged }).toEqual(expected);
    const answer = Buffer.concat(traceAnswerChunks({ pieces, format: "v1-protobuf", partial: "" }));
    expect(decodeTraceData(answer)).toEqual(expected);
  }
});

test("spans are copied, not decoded, in small chunks; JSON holds one span at a time", () => {
  const random = randomOf(6);
  const spans = 400;
  const pieces = [encodeTraceData(sorted(makeTrace(spans, random, 20_000)))];
  let decoded = 0;
  const decode: DecodeSpan = (span): Span => {
    decoded++;
    return decodeSpan(span);
  };
  const chunks = traceAnswerChunks({ pieces, format: "v2-protobuf", partial: "" }, decode);
  expect(decoded).toBe(0);
  expect(chunks.length).toBeGreaterThan(5);
  for (const chunk of chunks) expect(chunk.buffer.byteLength).toBeLessThan(4 * mebibyte);
  traceAnswerChunks({ pieces, format: "v2-json", partial: "" }, decode);
  expect(decoded).toBe(spans);
});

function sorted(data: TraceData): TraceData {
  return mergeTraces([data]);
}
