import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cutAttributes, truncatedKey } from "./attribute-cut.ts";
import { type AttributeLimits, hasAttributeLimits, mayExceedLimits } from "./attribute-scan.ts";
import { decodeTraceData } from "./decode.ts";
import { encodeTraceData } from "./encode.ts";
import type { AnyValue, KeyValue, Span, TraceData } from "./trace-data.ts";
import { randomTraceData } from "./random-otlp.testing.ts";

const limitsArb: fc.Arbitrary<AttributeLimits> = fc.record({
  attributeKeyBytesMax: fc.nat(12),
  attributeValueBytesMax: fc.nat(12),
  attributesPerSpanMax: fc.nat(3),
});

function ownersOf({ resourceSpans }: TraceData): { attributes: KeyValue[] }[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => [
    resource,
    ...scopeSpans.flatMap(({ scope, spans }) => [
      scope,
      ...spans.flatMap((span) => [span, ...span.events, ...span.links]),
    ]),
  ]);
}

function isWithin({ key, value }: KeyValue, limits: AttributeLimits): boolean {
  const keyMax = limits.attributeKeyBytesMax || Infinity;
  const valueMax = limits.attributeValueBytesMax || Infinity;
  return Buffer.byteLength(key) <= keyMax && bytesOf(value) <= valueMax;
}

function bytesOf(value: AnyValue): number {
  if (value.kind === "string") return Buffer.byteLength(value.value);
  return value.kind === "bytes" ? value.value.length : 0;
}

describe("attributes beyond their limits", () => {
  test("are found by the scan and cut; cutting again changes nothing", () => {
    fc.assert(
      fc.property(randomTraceData, limitsArb, (data, limits) => {
        const record = encodeTraceData(data);
        const wanted = ownersOf(decodeTraceData(record));
        const counted = (owner: { attributes: KeyValue[] }): KeyValue[] =>
          owner.attributes.filter(({ key }) => key !== truncatedKey);
        const isFine = (owner: { attributes: KeyValue[] }): boolean =>
          counted(owner).length <= (limits.attributesPerSpanMax || Infinity) &&
          counted(owner).every((attribute) => isWithin(attribute, limits));
        const cut = cutAttributes(record, limits);
        // A record that the scan does not find needs no cut.
        if (!mayExceedLimits(record, limits)) expect(cut).toBeUndefined();
        if (cut === undefined) {
          expect(wanted.every(isFine)).toBe(true);
          return;
        }
        const owners = ownersOf(decodeTraceData(cut.record));
        expect(owners).toHaveLength(wanted.length);
        expect(owners.every(isFine)).toBe(true);
        expect(cutAttributes(cut.record, limits)).toBeUndefined();
        const { keys, values, attributes } = cut.counts;
        expect(keys + values + attributes).toBeGreaterThan(0);
      }),
    );
  });

  test("are cut at the end of a character, and their owner is marked", () => {
    const span = spanOf([
      { key: "text", value: { kind: "string", value: "aé☃😀" } },
      { key: "blob", value: { kind: "bytes", value: Uint8Array.of(1, 2, 3, 4, 5) } },
      { key: "count", value: { kind: "int", value: 2n ** 60n } },
    ]);
    const cut = cutOne(span, { attributeValueBytesMax: 4 });
    expect(cut.span.attributes).toEqual([
      { key: "text", value: { kind: "string", value: "aé" } },
      { key: "blob", value: { kind: "bytes", value: Uint8Array.of(1, 2, 3, 4) } },
      { key: "count", value: { kind: "int", value: 2n ** 60n } },
      { key: truncatedKey, value: { kind: "bool", value: true } },
    ]);
    expect(cut).toMatchObject({ counts: { keys: 0, values: 2, attributes: 0 } });
    expect(cut.examples).toEqual(["01".repeat(16)]);
  });

  test("are dropped from the end, and counted as dropped", () => {
    const attributes = ["a", "b", "c"].map((key): KeyValue => ({
      key,
      value: { kind: "bool", value: true },
    }));
    const { span, counts } = cutOne(spanOf(attributes), { attributesPerSpanMax: 2 });
    expect(span.attributes.map(({ key }) => key)).toEqual(["a", "b", truncatedKey]);
    expect(span.droppedAttributesCount).toBe(1);
    expect(counts).toEqual({ keys: 0, values: 0, attributes: 1 });
  });

  test("of an event mark the span; lists lose entries", () => {
    const values = Array.from({ length: 50 }, (_, i): AnyValue => ({
      kind: "int",
      value: BigInt(i),
    }));
    const span = spanOf([]);
    span.events.push({
      timeUnixNano: 1n,
      name: "e",
      attributes: [{ key: "list", value: { kind: "array", values } }],
      droppedAttributesCount: 0,
    });
    const cut = cutOne(span, { attributeValueBytesMax: 64 });
    const [{ value }] = cut.span.events[0].attributes;
    expect(value.kind === "array" && value.values).toEqual(values.slice(0, 7));
    expect(cut.span.attributes.map(({ key }) => key)).toEqual([truncatedKey]);
  });
});

test("limits of 0 mean no limit", () => {
  const none = { attributeKeyBytesMax: 0, attributeValueBytesMax: 0, attributesPerSpanMax: 0 };
  expect(hasAttributeLimits(none)).toBe(false);
  expect(hasAttributeLimits({ ...none, attributesPerSpanMax: 1 })).toBe(true);
  fc.assert(
    fc.property(randomTraceData, (data) => {
      expect(mayExceedLimits(encodeTraceData(data), none)).toBe(false);
    }),
  );
});

function spanOf(attributes: KeyValue[]): Span {
  return {
    traceId: new Uint8Array(16).fill(1),
    spanId: new Uint8Array(8).fill(2),
    traceState: "",
    parentSpanId: new Uint8Array(0),
    name: "span",
    kind: 1,
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
    attributes,
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: [],
    droppedLinksCount: 0,
    status: { message: "", code: 0 },
    flags: 0,
  };
}

function cutOne(
  span: Span,
  limits: Partial<AttributeLimits>,
): { span: Span; counts: object; examples: string[] } {
  const resource = { attributes: [], droppedAttributesCount: 0, entityRefs: [] };
  const scope = { name: "", version: "", attributes: [], droppedAttributesCount: 0 };
  const scopeSpans = [{ scope, spans: [span], schemaUrl: "" }];
  const record = encodeTraceData({ resourceSpans: [{ resource, scopeSpans, schemaUrl: "" }] });
  const none = { attributeKeyBytesMax: 0, attributeValueBytesMax: 0, attributesPerSpanMax: 0 };
  const all = { ...none, ...limits };
  expect(mayExceedLimits(record, all)).toBe(true);
  const { counts, examples, record: bytes } = cutAttributes(record, all)!;
  const [{ scopeSpans: found }] = decodeTraceData(bytes).resourceSpans;
  return { span: found[0].spans[0], counts, examples };
}
