/**
 * Real OpenTelemetry SDKs and captured requests against the real binary, attribute for attribute.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { OTLPTraceExporter as GrpcExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtoExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanExporter,
} from "@opentelemetry/sdk-trace-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { jsonToWire } from "#pkg/otlp/json-decode.ts";
import type { AnyValue, Span, TraceData } from "#pkg/otlp/trace-data.ts";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";

let dir: string;
let server: SpoorProcess;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-sdk-"));
  const config = "span_log: {free_bytes_min: 1MiB, partition_count: 2}\nquerier: {threads: 1}\n";
  server = await startSpoorProcess({ dataDir: join(dir, "data"), config });
  await server.ready();
});

afterAll(async () => {
  await server.kill();
  await rm(dir, { recursive: true, force: true });
});

/** Polls the server until the trace has `spanCount` spans, and returns it. */
async function fetchTrace(traceId: string, spanCount: number): Promise<TraceData> {
  for (;;) {
    const response = await fetch(`${server.address}/api/traces/${traceId}`, {
      headers: { accept: "application/protobuf" },
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (response.status === 200) {
      const data = decodeTraceData(bytes);
      if (canonicalSpans(data).length >= spanCount) return data;
    } else if (response.status !== 404) {
      throw new Error(`answer ${response.status}: ${Buffer.from(bytes).toString()}`);
    }
  }
}

/** Makes three spans with every field of the SDK; returns the SDK's own representation. */
async function record(exporter: SpanExporter): Promise<ReadableSpan[]> {
  const finished: ReadableSpan[] = [];
  const keep: SpanExporter = {
    export: (spans, done) => {
      finished.push(...spans);
      done({ code: 0 });
    },
    shutdown: () => Promise.resolve(),
  };
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ "service.name": "checkout", "host.cpus": 8, ok: true }),
    spanProcessors: [new SimpleSpanProcessor(exporter), new SimpleSpanProcessor(keep)],
  });
  const tracer = provider.getTracer("shop", "1.2.3");
  const root = tracer.startSpan("POST /checkout", { kind: SpanKind.SERVER, root: true });
  root.setAttributes({
    text: "ä€😀",
    whole: 42,
    big: Number.MAX_SAFE_INTEGER,
    negative: -7,
    half: 0.5,
    yes: true,
    no: false,
    "list.text": ["a", "b"],
    "list.numbers": [1, 2, 3],
    "odd name with spaces": "x",
  });
  const child = tracer.startSpan("charge", {
    kind: SpanKind.CLIENT,
    links: [{ context: root.spanContext(), attributes: { why: "retry", attempt: 2 } }],
  });
  child.addEvent("exception", { "exception.message": "boom\nat x", "exception.escaped": false });
  child.recordException(new Error("declined"));
  child.setStatus({ code: SpanStatusCode.ERROR, message: "declined" });
  child.end();
  root.setStatus({ code: SpanStatusCode.OK });
  root.end();
  await provider.shutdown();
  return finished;
}

function plain(value: AnyValue): unknown {
  switch (value.kind) {
    case "int":
      return Number(value.value);
    case "array":
      return value.values.map(plain);
    case "empty":
    case "kvlist":
      return value;
    default:
      return value.value;
  }
}

function attributes(list: readonly { key: string; value: AnyValue }[]): Record<string, unknown> {
  return Object.fromEntries(list.map(({ key, value }) => [key, plain(value)]));
}

const nanos = ([seconds, rest]: readonly [number, number]): bigint =>
  BigInt(seconds) * 1_000_000_000n + BigInt(rest);

function expectSame(found: Span, sent: ReadableSpan): void {
  expect(found.name).toBe(sent.name);
  expect(found.kind).toBe(sent.kind + 1);
  expect(Buffer.from(found.spanId).toString("hex")).toBe(sent.spanContext().spanId);
  expect(found.startTimeUnixNano).toBe(nanos(sent.startTime));
  expect(found.endTimeUnixNano).toBe(nanos(sent.endTime));
  expect(attributes(found.attributes)).toEqual(sent.attributes);
  expect(found.status.code).toBe(sent.status.code);
  expect(found.status.message).toBe(sent.status.message ?? "");
  expect(
    found.events.map((event) => ({ ...event, attributes: attributes(event.attributes) })),
  ).toEqual(
    sent.events.map((event) => ({
      name: event.name,
      timeUnixNano: nanos(event.time),
      attributes: event.attributes ?? {},
      droppedAttributesCount: 0,
    })),
  );
  expect(found.links.map((link) => attributes(link.attributes))).toEqual(
    sent.links.map((link) => link.attributes ?? {}),
  );
}

describe("OpenTelemetry SDK", () => {
  const exporters: [string, () => SpanExporter][] = [
    ["http/protobuf", () => new ProtoExporter({ url: `${server.otlpHttp}/v1/traces` })],
    ["http/json", () => new JsonExporter({ url: `${server.otlpHttp}/v1/traces` })],
    ["grpc", () => new GrpcExporter({ url: server.otlpGrpc })],
  ];

  it.each(exporters)("over %s gives back every attribute", async (_name, open) => {
    const sent = await record(open());
    for (const span of sent) {
      const { traceId, spanId } = span.spanContext();
      const data = await fetchTrace(traceId, 1);
      const [resourceSpans] = data.resourceSpans;
      expect(attributes(resourceSpans.resource.attributes)).toMatchObject({
        "service.name": "checkout",
        "host.cpus": 8,
        ok: true,
      });
      const [{ scope, spans }] = resourceSpans.scopeSpans;
      expect(scope).toMatchObject({ name: "shop", version: "1.2.3" });
      expectSame(
        spans.find((one) => Buffer.from(one.spanId).toString("hex") === spanId)!,
        span,
      );
    }
  });
});

describe("captures of real clients", async () => {
  const folder = new URL("../testdata/captures/", import.meta.url);
  const names = (await readdir(folder)).filter((name) =>
    /^otel-(proto|json|grpc).*\.bin$/.test(name),
  );

  it("exist", () => expect(names.length).toBeGreaterThanOrEqual(5));

  it.each(names)("%s comes back whole", async (name) => {
    const body = await readFile(new URL(name, folder));
    const meta = JSON.parse(
      await readFile(new URL(name.replace(/\.bin$/, ".json"), folder), "utf8"),
    ) as { headers: Record<string, string> };
    const wire = inflate(name, body);
    const expected = decodeTraceData(name.includes("json") ? jsonToWire(wire) : wire);
    if (name.includes("grpc")) {
      // The framing was tested with real clients above; the message goes over HTTP here.
      await post(wire, { "content-type": "application/x-protobuf" });
    } else {
      const { "content-type": type, "content-encoding": encoding } = meta.headers;
      const headers = { "content-type": type, "content-encoding": encoding ?? "identity" };
      await post(body, headers);
    }
    const spans = canonicalSpans(expected);
    const { traceId } = expected.resourceSpans[0].scopeSpans[0].spans[0];
    const found = await fetchTrace(Buffer.from(traceId).toString("hex"), spans.length);
    expect(canonicalSpans(found)).toEqual(spans);
  });
});

function inflate(name: string, body: Buffer): Buffer {
  if (!name.includes("grpc")) return name.includes("gzip") ? gunzipSync(body) : body;
  const message = body.subarray(5);
  return body[0] === 1 ? gunzipSync(message) : message;
}

async function post(body: Uint8Array, headers: Record<string, string>): Promise<void> {
  const response = await fetch(`${server.otlpHttp}/v1/traces`, {
    method: "POST",
    headers,
    body: Uint8Array.from(body),
  });
  expect(response.status).toBe(200);
}
