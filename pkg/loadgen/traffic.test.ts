import { describe, expect, test } from "vitest";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { Span } from "#pkg/otlp/trace-data.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import { services } from "./shop.ts";
import { Traffic, type TrafficRequest } from "./traffic.ts";

const nowMs = 1_790_000_000_123;

function generate(seed: number, traces: number): TrafficRequest[] {
  const traffic = new Traffic({ seed, tracesMax: traces });
  const requests: TrafficRequest[] = [];
  for (let next = traffic.next(nowMs); next !== undefined; next = traffic.next(nowMs)) {
    requests.push(next);
  }
  requests.push(...traffic.finish());
  expect(traffic.traceCount).toBe(traces);
  const spanCount = requests.reduce((sum, request) => sum + request.spanCount, 0);
  expect(spanCount).toBe(traffic.spanCount);
  return requests;
}

interface SentSpan extends Span {
  service: string;
}

function spansOf(requests: readonly TrafficRequest[]): SentSpan[] {
  return requests.flatMap(({ body, spanCount }) => {
    const spans = decodeTraceData(body).resourceSpans.flatMap(({ resource, scopeSpans }) => {
      const name = resource.attributes.find(({ key }) => key === "service.name")?.value;
      const service = name?.kind === "string" ? name.value : "";
      return scopeSpans.flatMap((one) => one.spans.map((span) => ({ ...span, service })));
    });
    expect(spans).toHaveLength(spanCount);
    return spans;
  });
}

function tracesOf(spans: readonly SentSpan[]): Map<string, SentSpan[]> {
  const traces = new Map<string, SentSpan[]>();
  for (const span of spans) {
    const id = hex(span.traceId);
    traces.set(id, [...(traces.get(id) ?? []), span]);
  }
  return traces;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

describe("traffic", () => {
  const requests = generate(7, 5000);
  const spans = spansOf(requests);
  const traces = tracesOf(spans);

  test("is equal for equal seeds, and differs for different ones", () => {
    const again = generate(7, 500).map(({ body }) => hex(body));
    expect(generate(7, 500).map(({ body }) => hex(body))).toEqual(again);
    expect(generate(8, 500).map(({ body }) => hex(body))).not.toEqual(again);
  });

  test("is accepted by the splitter and is canonical protobuf", () => {
    for (const { body, spanCount } of requests) {
      const split = splitRequest(body, { partitionCount: 4 });
      expect(split).toMatchObject({ acceptedSpans: spanCount, rejectedSpans: 0 });
    }
    for (const { body } of requests.slice(0, 20)) {
      expect(Buffer.compare(encodeTraceData(decodeTraceData(body)), body)).toBe(0);
    }
  });

  test("has traces of 1 to 40 spans, and few of thousands", () => {
    const sizes = [...traces.values()].map(({ length }) => length);
    expect(new Set(sizes.filter((size) => size <= 40)).size).toBe(40);
    expect(sizes.filter((size) => size > 40 && size < 1000)).toEqual([]);
    const large = sizes.filter((size) => size >= 1000).length;
    expect(large).toBeGreaterThanOrEqual(1);
    expect(large).toBeLessThan(5);
  });

  test("has whole traces: one root, parents that exist and contain their children", () => {
    expect(new Set(spans.map(({ spanId }) => hex(spanId))).size).toBe(spans.length);
    for (const trace of traces.values()) {
      const byId = new Map(trace.map((span) => [hex(span.spanId), span]));
      expect(trace.filter(({ parentSpanId }) => parentSpanId.length === 0)).toHaveLength(1);
      for (const span of trace.filter(({ parentSpanId }) => parentSpanId.length > 0)) {
        const parent = byId.get(hex(span.parentSpanId));
        expect(parent).toBeDefined();
        expect(span.startTimeUnixNano).toBeGreaterThanOrEqual(parent!.startTimeUnixNano);
        expect(span.endTimeUnixNano).toBeLessThanOrEqual(parent!.endTimeUnixNano);
      }
    }
  });

  test("comes from all services, with every kind of span", () => {
    expect(services).toHaveLength(50);
    expect(new Set(spans.map(({ service }) => service))).toEqual(
      new Set(services.map(({ name }) => name)),
    );
    expect(new Set(spans.map(({ kind }) => kind))).toEqual(new Set([1, 2, 3, 4, 5]));
    const keys = new Set(spans.flatMap(({ attributes }) => attributes.map(({ key }) => key)));
    for (const key of ["http.route", "rpc.method", "db.query.text", "messaging.message.id"]) {
      expect(keys).toContain(key);
    }
  });

  test("has errors with an exception event within the span", () => {
    const failed = spans.filter(({ status }) => status.code === 2);
    expect(failed.length).toBeGreaterThan(100);
    expect(failed.length).toBeLessThan(spans.length / 50);
    for (const { events, startTimeUnixNano, endTimeUnixNano } of failed) {
      expect(events.map(({ name }) => name)).toEqual(["exception"]);
      expect(events[0].timeUnixNano).toBeGreaterThanOrEqual(startTimeUnixNano);
      expect(events[0].timeUnixNano).toBeLessThanOrEqual(endTimeUnixNano);
    }
  });

  test("has links to the parent, and to traces that were sent before", () => {
    const linked = spans.filter(({ links }) => links.length > 0);
    const toParent = linked.filter((span) => hex(span.links[0].spanId) === hex(span.parentSpanId));
    expect(toParent.length).toBeGreaterThan(100);
    const others = linked.filter((span) => !toParent.includes(span));
    // The first few link to traces from before the run.
    const known = others.filter(({ links }) => traces.has(hex(links[0].traceId)));
    expect(known.length).toBeGreaterThan(others.length * 0.9);
  });

  test("has a slow tail, times up to now, and ids of high cardinality", () => {
    const roots = spans.filter(({ parentSpanId }) => parentSpanId.length === 0);
    const nanos = roots.map((span) => Number(span.endTimeUnixNano - span.startTimeUnixNano));
    nanos.sort((a, b) => a - b);
    expect(nanos.at(-1)!).toBeGreaterThan(20 * nanos[nanos.length >> 1]);
    const ends = roots.map(({ endTimeUnixNano }) => Number(endTimeUnixNano / 1_000_000n));
    expect(Math.max(...ends)).toBeLessThanOrEqual(nowMs + 1);
    expect(Math.min(...ends)).toBeGreaterThanOrEqual(nowMs - 2);
    const values = (wanted: string): Set<string> =>
      new Set(
        spans.flatMap(({ attributes }) =>
          attributes.flatMap(({ key, value }) =>
            key === wanted && value.kind === "string" ? [value.value] : [],
          ),
        ),
      );
    expect(values("user.id").size).toBeGreaterThan(1000);
    expect([...values("http.request.id")].filter((id) => !/^[0-9a-f]{16}$/.test(id))).toEqual([]);
    expect([...values("user.id")].filter((id) => !/^user-\d{6}$/.test(id))).toEqual([]);
  });

  test("does not wait forever to fill a request", () => {
    const traffic = new Traffic({ seed: 3, lingerSpans: 500 });
    const sizes = Array.from({ length: 400 }, () => traffic.next(nowMs)!.spanCount);
    expect(sizes.filter((size) => size < 64).length).toBeGreaterThan(100);
  });
});
