/**
 * Deterministic traces: every byte follows from a seed, a number and a time. A caller can send a
 * trace, forget it, generate it again and compare it with a backend's response. Together the traces
 * use every field and every value type that OTLP has for spans.
 */
import { canonicalSpans } from "#pkg/columns/columns.ts";
import {
  type AnyValue,
  decodeTraceData,
  encodeTraceData,
  type KeyValue,
  type ResourceSpans,
  type Span,
  type SpanEvent,
  type SpanLink,
} from "#pkg/otlp/otlp.ts";
import { SeededRandom } from "./random.ts";

export interface KnownTrace {
  /** 32 hex digits. */
  traceId: string;
  startNano: bigint;
  endNano: bigint;
  rootService: string;
  rootName: string;
  spanCount: number;
  /** Two requests that together contain the trace. */
  requests: readonly [Uint8Array, Uint8Array];
  /** TraceQL queries that find only this trace, and the number of spans that each matches. */
  queries: readonly { traceQl: string; matched: number }[];
}

export interface KnownTraceOptions {
  /** Seed and time distinguish runs that write to the same backend. */
  seed: number;
  number: number;
  startMs: number;
}

const servicesMax = 4;
const spansMax = 12;

export function makeKnownTrace(options: KnownTraceOptions): KnownTrace {
  const { seed, number, startMs } = options;
  const mixed = Math.imul(seed, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b) ^ (startMs >>> 0);
  const random = new SeededRandom(mixed >>> 0);
  const id = [seed, number, startMs].map((part) => part.toString(36)).join("-");
  const traceId = bytesOf(random, 16);
  const startNano = BigInt(startMs) * 1_000_000n + BigInt(random.below(1_000_000));
  const serviceCount = 1 + random.below(servicesMax);
  const spans = makeSpans(random, { id, number, traceId, startNano });
  const resourceSpans = Array.from({ length: serviceCount }, (_, i) =>
    envelope(
      random,
      i,
      spans.filter((_span, at) => at % serviceCount === i),
    ),
  ).filter(({ scopeSpans }) => scopeSpans[0].spans.length > 0);
  const half = Math.ceil(resourceSpans.length / 2);
  const ends = spans.map(({ endTimeUnixNano }) => endTimeUnixNano);
  const ratio = ratioOf(number);
  const rootService = serviceName(0);
  const ofFirst = resourceSpans[0].scopeSpans[0].spans.length;
  return {
    traceId: Buffer.from(traceId).toString("hex"),
    startNano,
    endNano: ends.reduce((a, b) => (a > b ? a : b)),
    rootService,
    rootName: spans[0].name,
    spanCount: spans.length,
    requests: [
      encodeTraceData({ resourceSpans: resourceSpans.slice(0, half) }),
      encodeTraceData({ resourceSpans: resourceSpans.slice(half) }),
    ],
    queries: [
      { traceQl: `{ span.spoor.verify.id = "${id}" }`, matched: spans.length },
      {
        traceQl: `{ resource.service.name = "${rootService}" && span.spoor.verify.id = "${id}" }`,
        matched: ofFirst,
      },
      {
        traceQl: `{ span.spoor.verify.id = "${id}" && span.spoor.verify.ratio = ${ratio} }`,
        matched: spans.length,
      },
      {
        traceQl: `{ event.spoor.verify.id = "${id}" && span.spoor.verify.number = ${number} }`,
        matched: spans.filter(({ events }) => events.length > 0).length,
      },
      {
        traceQl: `{ span.spoor.verify.id =~ "${id}" && status = error }`,
        matched: spans.filter(({ status }) => status.code === 2).length,
      },
    ],
  };
}

/** Compares a response with the trace: missing and unexpected spans, both empty if it is equal. */
export function compareWithKnown(
  { requests }: KnownTrace,
  answer: { resourceSpans: ResourceSpans[] },
): { missing: string[]; unexpected: string[] } {
  const wanted = requests.flatMap((body) => decodeTraceData(body).resourceSpans);
  const expected = new Set(canonicalSpans({ resourceSpans: wanted }));
  const missing = new Set(expected);
  const unexpected: string[] = [];
  for (const span of canonicalSpans(answer)) {
    // A duplicate span is unexpected the second time.
    if (!missing.delete(span)) unexpected.push(span);
  }
  return { missing: [...missing], unexpected };
}

interface SpanFacts {
  id: string;
  number: number;
  traceId: Uint8Array;
  startNano: bigint;
}

function makeSpans(random: SeededRandom, facts: SpanFacts): Span[] {
  const { id, number, traceId, startNano } = facts;
  const spans: Span[] = [];
  const count = 1 + random.below(spansMax);
  for (let i = 0; i < count; i++) {
    const parent = i === 0 ? undefined : spans[random.below(i)];
    const start = (parent?.startTimeUnixNano ?? startNano) + BigInt(random.below(5_000_000));
    const isError = i % 3 === 0;
    spans.push({
      traceId,
      spanId: bytesOf(random, 8),
      traceState: i % 2 === 0 ? `shop=${random.below(1000)}` : "",
      parentSpanId: parent?.spanId ?? new Uint8Array(0),
      name: `verify step ${i} of ${number % 97} · ünï`,
      kind: i === 0 ? 2 : random.below(6),
      startTimeUnixNano: i === 0 ? startNano : start,
      endTimeUnixNano: start + BigInt(random.below(900_000_000)),
      attributes: attributesOf(random, facts),
      droppedAttributesCount: random.below(3),
      events: Array.from({ length: random.below(3) }, () => event(random, id, start)),
      droppedEventsCount: random.below(2),
      links: Array.from({ length: random.below(2) }, () => link(random)),
      droppedLinksCount: random.below(2),
      status: isError ? { message: "it failed", code: 2 } : { message: "", code: random.below(2) },
      flags: 0x101,
    });
  }
  return spans;
}

/** Returns a number that is exact as a double and as text. */
function ratioOf(number: number): number {
  return number / 8 + 0.125;
}

function attributesOf(random: SeededRandom, { id, number }: SpanFacts): KeyValue[] {
  const values: Record<string, AnyValue> = {
    "spoor.verify.id": { kind: "string", value: id },
    "spoor.verify.number": { kind: "int", value: BigInt(number) },
    "spoor.verify.ratio": { kind: "double", value: ratioOf(number) },
    "spoor.verify.even": { kind: "bool", value: number % 2 === 0 },
    "spoor.verify.large": { kind: "int", value: -(2n ** 62n) + BigInt(random.uint32()) },
    "spoor.verify.text": { kind: "string", value: `"\\ \n ☃ ${random.uint32()}` },
    "spoor.verify.none": { kind: "string", value: "" },
    [`spoor.verify.rare.${random.below(200)}`]: { kind: "int", value: BigInt(random.uint32()) },
    "spoor.verify.list": {
      kind: "array",
      values: [
        { kind: "string", value: "a" },
        { kind: "int", value: BigInt(random.below(100)) },
      ],
    },
    "spoor.verify.map": {
      kind: "kvlist",
      values: [{ key: "inner", value: { kind: "double", value: random.float() } }],
    },
    "spoor.verify.bytes": { kind: "bytes", value: bytesOf(random, 5) },
  };
  const keys = Object.keys(values);
  // Queries use the first four. Each span has some of the others.
  const kept = keys.filter((_, i) => i < 4 || random.below(2) === 0);
  return kept.map((key) => ({ key, value: values[key] }));
}

function event(random: SeededRandom, id: string, startNano: bigint): SpanEvent {
  return {
    timeUnixNano: startNano + BigInt(random.below(1_000_000)),
    name: random.below(2) === 0 ? "exception" : "retry",
    attributes: [
      { key: "spoor.verify.id", value: { kind: "string", value: id } },
      { key: "exception.message", value: { kind: "string", value: `no ${random.uint32()}` } },
    ],
    droppedAttributesCount: random.below(2),
  };
}

function link(random: SeededRandom): SpanLink {
  return {
    traceId: bytesOf(random, 16),
    spanId: bytesOf(random, 8),
    traceState: "",
    attributes: [{ key: "why", value: { kind: "string", value: "batch" } }],
    droppedAttributesCount: 0,
    flags: 0x100,
  };
}

function envelope(random: SeededRandom, index: number, spans: Span[]): ResourceSpans {
  return {
    resource: {
      attributes: [
        { key: "service.name", value: { kind: "string", value: serviceName(index) } },
        { key: "service.instance.id", value: { kind: "string", value: `pod-${random.below(20)}` } },
        { key: "process.pid", value: { kind: "int", value: BigInt(random.below(65_536)) } },
      ],
      droppedAttributesCount: random.below(2),
      entityRefs: [],
    },
    scopeSpans: [
      {
        scope: {
          name: "spoor.verify",
          version: `1.${random.below(5)}`,
          attributes: [{ key: "scope.kind", value: { kind: "string", value: "known" } }],
          droppedAttributesCount: 0,
        },
        spans,
        schemaUrl: "https://opentelemetry.io/schemas/1.30.0",
      },
    ],
    schemaUrl: "",
  };
}

function serviceName(index: number): string {
  return `spoor-verify-${index}`;
}

function bytesOf(random: SeededRandom, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = random.uint32();
  bytes[length - 1] |= 1;
  return bytes;
}
