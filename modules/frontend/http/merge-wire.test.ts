import * as fc from "fast-check";
import { expect, inject, test } from "vitest";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import { randomTraceData } from "#pkg/otlp/random-otlp.testing.ts";
import type { KeyValue, Span, TraceData } from "#pkg/otlp/trace-data.ts";
import { traceDataOf } from "#pkg/engine/testing/spans.ts";
import { SeededRandom } from "#pkg/loadgen/random.ts";
import { mergeTraces } from "#pkg/query/merge-trace.ts";
import { decodeSpan, type DecodeSpan, mergeWire } from "#pkg/query/merge-wire.ts";
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

/** Merges on the wire, and as objects; and an answer made of the pieces. */
function checkMerged(pieces: Uint8Array[]): void {
  const merged = mergeWire(pieces).map((one) => ({
    ...one,
    scopeSpans: one.scopeSpans.map((scope) => ({ ...scope, spans: scope.spans.map(decodeSpan) })),
  }));
  const expected = mergeTraces(pieces.map((piece) => decodeTraceData(piece)));
  expect({ resourceSpans: merged }).toEqual(expected);
  const answer = Buffer.concat(traceAnswerChunks({ pieces, format: "v1-protobuf", partial: "" }));
  expect(decodeTraceData(answer)).toEqual(expected);
}

/** Each span has a key of its own twice, and one of its resource's attributes comes again. */
function withKeysTwice(data: TraceData): TraceData {
  const twice = (attributes: readonly KeyValue[]): KeyValue[] => {
    const again = attributes.slice(0, 1).map(({ key }): KeyValue => {
      return { key, value: { kind: "string", value: "again" } };
    });
    return [...attributes, ...again];
  };
  const resourceSpans = data.resourceSpans.map(({ resource, scopeSpans, ...rest }) => ({
    ...rest,
    resource: { ...resource, attributes: twice(resource.attributes) },
    scopeSpans: scopeSpans.map((scope) => ({
      ...scope,
      spans: scope.spans.map((span) => ({ ...span, attributes: twice(span.attributes) })),
    })),
  }));
  return { resourceSpans };
}

test("pieces merged on the wire are the pieces merged as objects", () => {
  const random = randomOf(5);
  for (let round = 0; round < 40; round++) {
    checkMerged(cut(makeTrace(1 + Math.floor(random() * 30), random), random));
  }
});

test("so are random ones, with odd ids, empty resources and keys twice", () => {
  let [emptyResources, oddIds] = [0, 0];
  fc.assert(
    fc.property(fc.array(randomTraceData, { maxLength: 3 }), fc.nat(), (traces, seed) => {
      const random = randomOf(seed);
      const data = traces.map(withKeysTwice);
      for (const { resource, scopeSpans } of data.flatMap((one) => one.resourceSpans)) {
        const spans = scopeSpans.flatMap((scope) => scope.spans);
        if (spans.length === 0 || resource.attributes.length === 0) emptyResources++;
        if (spans.some(({ spanId }) => spanId.length !== 8)) oddIds++;
      }
      // Each span is in a whole piece, in a part, and now and then in another part.
      const whole = data.map((one) => encodeTraceData(one));
      checkMerged([...whole, ...data.flatMap((one) => cut(one, random))]);
    }),
    { numRuns: 40 * inject("depth") },
  );
  for (const count of [emptyResources, oddIds]) expect(count).toBeGreaterThan(5);
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
