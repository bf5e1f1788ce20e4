/** Test data: random traces, and random but valid wire bytes of them (odd-wire.ts). */
import * as fc from "fast-check";
import { oddWire } from "./odd-wire.testing.ts";
import type { AnyValue, KeyValue, Resource, ScopeSpans, Span, TraceData } from "./trace-data.ts";

const u32: fc.Arbitrary<number> = fc.oneof(fc.constant(0), fc.nat(), fc.constant(0xffff_ffff));
const u64: fc.Arbitrary<bigint> = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const i64: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n),
);
const enumNumber: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: 0, max: 6 }),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
);
/** Any text that UTF-8 can encode, sometimes longer than a one-byte length. */
const text: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.constantFrom("", "\0", "\ufffd", "\ufeff", '"\\\n', "é".repeat(100)),
);
const bytesOf = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const anyId: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 20 });

const { anyValue, keyValue } = fc.letrec<{ anyValue: AnyValue; keyValue: KeyValue }>((tie) => ({
  anyValue: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({ kind: fc.constant("string" as const), value: text }),
    fc.record({ kind: fc.constant("int" as const), value: i64 }),
    fc.record({ kind: fc.constant("bool" as const), value: fc.boolean() }),
    fc.record({ kind: fc.constant("double" as const), value: fc.double() }),
    fc.record({ kind: fc.constant("bytes" as const), value: fc.uint8Array({ maxLength: 200 }) }),
    fc.record({ kind: fc.constant("empty" as const) }),
    fc.record({
      kind: fc.constant("array" as const),
      values: fc.array(tie("anyValue"), { maxLength: 3 }),
    }),
    fc.record({
      kind: fc.constant("kvlist" as const),
      values: fc.array(tie("keyValue"), { maxLength: 3 }),
    }),
  ) as fc.Arbitrary<AnyValue>,
  keyValue: fc.record({ key: text, value: tie("anyValue") }),
}));

export const randomAnyValue: fc.Arbitrary<AnyValue> = anyValue;
export const randomAttributes: fc.Arbitrary<KeyValue[]> = fc.array(keyValue, { maxLength: 4 });

/** Few distinct trace ids, so that traces have several spans; some are invalid. */
const traceId: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 20, arbitrary: fc.integer({ min: 1, max: 40 }).map((n) => new Uint8Array(16).fill(n)) },
  { weight: 5, arbitrary: bytesOf(16) },
  { weight: 1, arbitrary: fc.constant(new Uint8Array(16)) },
  { weight: 1, arbitrary: anyId },
);
const spanId: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 20, arbitrary: bytesOf(8) },
  { weight: 1, arbitrary: fc.constant(new Uint8Array(8)) },
  { weight: 1, arbitrary: anyId },
);
const parentId: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 20, arbitrary: bytesOf(8) },
  { weight: 20, arbitrary: fc.constant(new Uint8Array()) },
  { weight: 1, arbitrary: fc.constant(new Uint8Array(8)) },
  { weight: 1, arbitrary: anyId },
);

const span: fc.Arbitrary<Span> = fc.record({
  traceId,
  spanId,
  traceState: text,
  parentSpanId: parentId,
  name: text,
  kind: enumNumber,
  startTimeUnixNano: u64,
  endTimeUnixNano: u64,
  attributes: randomAttributes,
  droppedAttributesCount: u32,
  events: fc.array(
    fc.record({
      timeUnixNano: u64,
      name: text,
      attributes: randomAttributes,
      droppedAttributesCount: u32,
    }),
    { maxLength: 2 },
  ),
  droppedEventsCount: u32,
  links: fc.array(
    fc.record({
      traceId: anyId,
      spanId: anyId,
      traceState: text,
      attributes: randomAttributes,
      droppedAttributesCount: u32,
      flags: u32,
    }),
    { maxLength: 2 },
  ),
  droppedLinksCount: u32,
  status: fc.record({ message: text, code: enumNumber }),
  flags: u32,
});

const resource: fc.Arbitrary<Resource> = fc.record({
  attributes: randomAttributes,
  droppedAttributesCount: u32,
  entityRefs: fc.array(
    fc.record({
      schemaUrl: text,
      type: text,
      idKeys: fc.array(text, { maxLength: 2 }),
      descriptionKeys: fc.array(text, { maxLength: 2 }),
    }),
    { maxLength: 2 },
  ),
});

const scopeSpans: fc.Arbitrary<ScopeSpans> = fc.record({
  scope: fc.record({
    name: text,
    version: text,
    attributes: randomAttributes,
    droppedAttributesCount: u32,
  }),
  spans: fc.array(span, { maxLength: 6 }),
  schemaUrl: text,
});

export const randomTraceData: fc.Arbitrary<TraceData> = fc.record({
  resourceSpans: fc.array(
    fc.record({
      resource,
      scopeSpans: fc.array(scopeSpans, { maxLength: 3 }),
      schemaUrl: text,
    }),
    { maxLength: 3 },
  ),
});

/** A random trace and its unusual wire bytes (odd-wire.ts). */
export const randomWire: fc.Arbitrary<{ data: TraceData; bytes: Uint8Array }> = fc
  .tuple(randomTraceData, fc.infiniteStream(fc.nat({ max: 99 })))
  .map(([data, dice]) => ({ data, bytes: oddWire(data, dice) }));
