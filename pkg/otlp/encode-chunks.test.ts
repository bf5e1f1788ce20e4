import fc from "fast-check";
import { expect, it } from "vitest";
import { decodeTraceData } from "./decode.ts";
import { traceDataChunks } from "./encode-chunks.ts";
import { encodeTraceData } from "./encode.ts";
import { formatTraceJson, traceJsonTexts } from "./json-encode.ts";
import { randomWire } from "./random-otlp.testing.ts";

it("concatenated chunks equal the bytes encoded as a whole", () => {
  fc.assert(
    fc.property(randomWire, ({ bytes }) => {
      const data = decodeTraceData(bytes);
      const joined = Buffer.concat(traceDataChunks(data));
      expect(joined.equals(Buffer.from(encodeTraceData(data)))).toBe(true);
    }),
  );
});

it("no chunk or text grows with the number of spans", () => {
  const value = { kind: "string" as const, value: "v".repeat(4000) };
  const span = {
    traceId: new Uint8Array(16).fill(1),
    spanId: new Uint8Array(8).fill(1),
    traceState: "",
    parentSpanId: new Uint8Array(0),
    name: "n",
    kind: 0,
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
    attributes: [{ key: "k", value }],
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: [],
    droppedLinksCount: 0,
    status: { message: "", code: 0 },
    flags: 0,
  };
  const scope = { name: "", version: "", attributes: [], droppedAttributesCount: 0 };
  const resource = { attributes: [], droppedAttributesCount: 0, entityRefs: [] };
  const spans = Array.from({ length: 2000 }, () => span);
  const data = {
    resourceSpans: [{ resource, schemaUrl: "", scopeSpans: [{ scope, schemaUrl: "", spans }] }],
  };
  const sizes = traceDataChunks(data).map(({ length }) => length);
  expect(Math.max(...sizes)).toBeLessThan(1.1 * 1024 * 1024);
  const options = { dialect: "tempo", key: "batches" } as const;
  const texts = [...traceJsonTexts(data, options)];
  expect(Math.max(...texts.map(({ length }) => length))).toBeLessThan(5000);
  expect(texts.join("")).toBe(formatTraceJson(data, options));
});
