import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test, inject } from "vitest";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import { WireWriter } from "#pkg/bytes/wire-writer.ts";
import { decodeAnyValue, decodeKeyValueList, decodeTraceData } from "./decode.ts";
import { encodeTraceData, writeAnyValue } from "./encode.ts";
import { type AnyValue, type TraceData, valueDepthMax } from "./trace-data.ts";
import { randomAnyValue, randomTraceData, randomWire } from "./random-otlp.testing.ts";

/** Runs `decode`; anything but a value or InvalidInput fails the test. */
function decodeOrRefuse(bytes: Uint8Array): TraceData | undefined {
  try {
    return decodeTraceData(bytes);
  } catch (error) {
    if (!hasCode(error, "InvalidInput")) throw error;
    return undefined;
  }
}

function nested(levels: number, leaf: AnyValue): AnyValue {
  let value = leaf;
  for (let i = 1; i < levels; i++) {
    value =
      i % 2 === 0
        ? { kind: "array", values: [value] }
        : { kind: "kvlist", values: [{ key: "k", value }] };
  }
  return value;
}

function encodeValue(value: AnyValue): Uint8Array {
  const writer = new WireWriter();
  writeAnyValue(writer, value);
  return writer.bytes();
}

describe("decodeTraceData", () => {
  test("reads every way of writing a trace that protobuf allows", () => {
    fc.assert(
      fc.property(randomWire, ({ data, bytes }) => {
        expect(decodeTraceData(bytes)).toEqual(data);
      }),
      { numRuns: 120 * inject("depth") },
    );
  });

  test("round trip through our encoder", () => {
    fc.assert(
      fc.property(randomTraceData, (data) => {
        expect(decodeTraceData(encodeTraceData(data))).toEqual(data);
      }),
      { numRuns: 200 },
    );
  });

  test("random bytes and flipped bytes give a value or InvalidInput", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        decodeOrRefuse(bytes);
      }),
      { numRuns: 800 * inject("depth") },
    );
    fc.assert(
      fc.property(randomWire, fc.nat(), fc.nat(255), ({ bytes }, at, byte) => {
        if (bytes.length > 0) bytes[at % bytes.length] = byte;
        decodeOrRefuse(bytes);
      }),
      { numRuns: 200 * inject("depth") },
    );
  });

  test("truncation at each byte is refused, except between resource spans", () => {
    const bytes = readFileSync("testdata/captures/otel-proto.01.bin");
    for (let length = 1; length < bytes.length; length++) {
      expect(decodeOrRefuse(bytes.subarray(0, length)), `${length} bytes`).toBeUndefined();
    }
    expect(decodeOrRefuse(bytes.subarray(0, 0))).toEqual({ resourceSpans: [] });
  });

  test("repairs invalid UTF-8 and counts it; a valid U+FFFD does not count", () => {
    const broken = [0x0a, 3, 0x61, 0xff, 0x62];
    const whole = [0x0a, 3, 0xef, 0xbf, 0xbd];
    const counts = { repairedStrings: 0 };
    expect(decodeAnyValue(Uint8Array.from(broken), counts)).toEqual({
      kind: "string",
      value: "a\ufffdb",
    });
    expect(counts.repairedStrings).toBe(1);
    expect(decodeAnyValue(Uint8Array.from(whole), counts)).toEqual({
      kind: "string",
      value: "\ufffd",
    });
    expect(counts.repairedStrings).toBe(1);
  });

  test("values nest up to the bound and not deeper", () => {
    const leaf: AnyValue = { kind: "int", value: 1n };
    const deepest = nested(valueDepthMax, leaf);
    expect(decodeAnyValue(encodeValue(deepest))).toEqual(deepest);
    const tooDeep = encodeValue(nested(valueDepthMax + 1, leaf));
    expect(() => decodeAnyValue(tooDeep)).toThrow(SpoorError);
    expect(() => decodeAnyValue(tooDeep)).toThrow(/nested over 64 levels/);
  });

  test("8,000 nested messages are refused, not a stack overflow", () => {
    let bytes: number[] = [];
    for (let i = 0; i < 4000; i++) bytes = prefixed(0x2a, prefixed(0x0a, bytes));
    expect(() => decodeAnyValue(Uint8Array.from(bytes))).toThrow(SpoorError);
  });

  test("a known field with a wrong wire type is refused, a group too", () => {
    const wrong: [string, number[]][] = [
      ["resource_spans as varint", [0x08, 0]],
      ["resource as fixed64", [0x0a, 9, 0x09, 0, 0, 0, 0, 0, 0, 0, 0]],
      ["span as varint", [0x0a, 4, 0x12, 2, 0x10, 0]],
      ["kind as bytes", [0x0a, 6, 0x12, 4, 0x12, 2, 0x32, 0]],
      ["flags as varint", [0x0a, 7, 0x12, 5, 0x12, 3, 0x80, 0x01, 0]],
      ["group", [0x13, 0x14]],
      ["field number 0", [0x02, 0]],
    ];
    for (const [what, bytes] of wrong) {
      expect(() => decodeTraceData(Uint8Array.from(bytes)), what).toThrow(/invalid protobuf/);
    }
  });
});

test("decodeKeyValueList reads a list", () => {
  const writer = new WireWriter();
  writer.message(1, (w) => w.string(1, "a"));
  writer.message(1, (w) => w.message(2, (v) => v.uint(2, 1)));
  expect(decodeKeyValueList(writer.bytes())).toEqual([
    { key: "a", value: { kind: "empty" } },
    { key: "", value: { kind: "bool", value: true } },
  ]);
});

test("one value round-trips", () => {
  fc.assert(
    fc.property(randomAnyValue, (value) => {
      expect(decodeAnyValue(encodeValue(value))).toEqual(value);
    }),
    { numRuns: 200 * inject("depth") },
  );
});

test("the encoder writes resource, scope and status even when they are empty", () => {
  const bytes = encodeTraceData({
    resourceSpans: [
      {
        resource: { attributes: [], droppedAttributesCount: 0, entityRefs: [] },
        scopeSpans: [
          {
            scope: { name: "", version: "", attributes: [], droppedAttributesCount: 0 },
            spans: [
              {
                ...decodeTraceData(capture("otel-proto")).resourceSpans[0].scopeSpans[0].spans[0],
                ...bare,
              },
            ],
            schemaUrl: "",
          },
        ],
        schemaUrl: "",
      },
    ],
  });
  expect([...bytes]).toEqual([0x0a, 10, 0x0a, 0, 0x12, 6, 0x0a, 0, 0x12, 2, 0x7a, 0]);
});

const bare = {
  traceId: new Uint8Array(),
  spanId: new Uint8Array(),
  traceState: "",
  parentSpanId: new Uint8Array(),
  name: "",
  kind: 0,
  startTimeUnixNano: 0n,
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

function capture(name: string): Uint8Array {
  return readFileSync(`testdata/captures/${name}.01.bin`);
}

function prefixed(tag: number, content: number[]): number[] {
  const head = [tag];
  let rest = content.length;
  while (rest > 0x7f) {
    head.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return [...head, rest, ...content];
}

describe("captures of OpenTelemetry JS", () => {
  test("proto, gzip and gRPC hold the demo trace", () => {
    const bodies: Record<string, Uint8Array> = {
      proto: capture("otel-proto"),
      gzip: gunzipSync(capture("otel-proto-gzip")),
      grpc: capture("otel-grpc").subarray(5),
      "grpc gzip": gunzipSync(capture("otel-grpc-gzip").subarray(5)),
    };
    for (const [name, body] of Object.entries(bodies)) {
      const [resourceSpans] = decodeTraceData(body).resourceSpans;
      expect(resourceSpans.resource.attributes, name).toEqual([
        { key: "service.name", value: { kind: "string", value: "shop" } },
        { key: "service.version", value: { kind: "string", value: "1.2.3" } },
        { key: "deployment.environment.name", value: { kind: "string", value: "test" } },
      ]);
      const [scope] = resourceSpans.scopeSpans;
      expect(scope.scope).toMatchObject({ name: "demo", version: "0.1.0" });
      expect(scope.spans.map((span) => [span.name, span.kind, span.status.code])).toEqual([
        ["SELECT orders", 1, 0],
        ["charge card", 3, 2],
        ["GET /checkout", 2, 0],
      ]);
      const [query, charge, root] = scope.spans;
      expect(query.parentSpanId).toEqual(charge.spanId);
      expect(charge.parentSpanId).toEqual(root.spanId);
      expect(query.links[0].spanId).toEqual(root.spanId);
      expect(charge.status).toEqual({ code: 2, message: "declined" });
      expect(charge.attributes).toEqual([
        { key: "peer.service", value: { kind: "string", value: "payments" } },
        { key: "retry", value: { kind: "int", value: 2n } },
        { key: "ratio", value: { kind: "double", value: 0.5 } },
        { key: "ok", value: { kind: "bool", value: false } },
        {
          key: "tags",
          value: {
            kind: "array",
            values: [
              { kind: "string", value: "a" },
              { kind: "string", value: "b" },
            ],
          },
        },
      ]);
      expect(charge.events.map(({ name }) => name)).toEqual(["exception"]);
      expect(charge.startTimeUnixNano).toBeGreaterThan(1_795_000_000_000_000_000n);
      expect(root.flags).toBe(257);
    }
  });
});
