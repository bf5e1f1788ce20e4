/** Real OpenTelemetry SDK and exporters against the real servers. */
import { context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { OTLPTraceExporter as GrpcExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtoExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  type SpanExporter,
} from "@opentelemetry/sdk-trace-node";
import { describe, expect, test } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { startReceiver, type TestReceiver } from "./receiver.testing.ts";

type Gzip = ConstructorParameters<typeof ProtoExporter>[0];
const gzip = { compression: "gzip" } as unknown as NonNullable<Gzip>;

const exporters: [string, (receiver: TestReceiver) => SpanExporter][] = [
  ["proto", ({ httpPort }) => new ProtoExporter({ url: tracesUrl(httpPort) })],
  ["proto gzip", ({ httpPort }) => new ProtoExporter({ ...gzip, url: tracesUrl(httpPort) })],
  ["json", ({ httpPort }) => new JsonExporter({ url: tracesUrl(httpPort) })],
  ["json gzip", ({ httpPort }) => new JsonExporter({ ...gzip, url: tracesUrl(httpPort) })],
  ["grpc", ({ grpcPort }) => new GrpcExporter({ url: `http://127.0.0.1:${grpcPort}` })],
  [
    "grpc gzip",
    ({ grpcPort }) =>
      new GrpcExporter({ ...(gzip as object), url: `http://127.0.0.1:${grpcPort}` }),
  ],
];

function tracesUrl(port: number): string {
  return `http://127.0.0.1:${port}/v1/traces`;
}

/** Sends `count` traces of two spans each through an SDK. */
async function sendTraces(exporter: SpanExporter, count: number): Promise<string[]> {
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ "service.name": "shop", shards: [1, 2] }),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  const tracer = provider.getTracer("demo", "1.0");
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const root = tracer.startSpan("GET /", { kind: SpanKind.SERVER });
    const inRoot = trace.setSpan(context.active(), root);
    const child = tracer.startSpan("SELECT", { attributes: { n: i, half: 0.5 } }, inRoot);
    child.recordException(new Error("no such table"));
    child.setStatus({ code: SpanStatusCode.ERROR, message: "failed" });
    child.end();
    root.addLink({ context: child.spanContext() });
    root.end();
    ids.push(root.spanContext().traceId);
  }
  await provider.forceFlush();
  await provider.shutdown();
  return ids;
}

describe.each(exporters)("%s exporter", (_name, open) => {
  test("every span arrives whole", async () => {
    await using receiver = await startReceiver();
    const ids = await sendTraces(open(receiver), 20);
    const spans = receiver.sink.spans();
    expect(spans).toHaveLength(40);
    const roots = spans.filter(({ name }) => name === "GET /");
    const hex = (id: Uint8Array): string => Buffer.from(id).toString("hex");
    expect(roots.map(({ traceId }) => hex(traceId))).toEqual(ids);
    const [root] = roots;
    const child = spans.find(({ parentSpanId }) => hex(parentSpanId) === hex(root.spanId))!;
    expect(root).toMatchObject({ kind: 2, parentSpanId: new Uint8Array() });
    expect(root.links[0].spanId).toEqual(child.spanId);
    expect(child).toMatchObject({ name: "SELECT", status: { code: 2, message: "failed" } });
    expect(child.attributes).toEqual([
      { key: "n", value: { kind: "int", value: 0n } },
      { key: "half", value: { kind: "double", value: 0.5 } },
    ]);
    expect(child.events[0]).toMatchObject({ name: "exception" });
    expect(child.endTimeUnixNano).toBeGreaterThanOrEqual(child.startTimeUnixNano);
    const [{ resource, scopeSpans }] = decodeTraceData(
      receiver.sink.requests[0].body,
    ).resourceSpans;
    expect(resource.attributes).toContainEqual({
      key: "service.name",
      value: { kind: "string", value: "shop" },
    });
    expect(scopeSpans[0].scope).toMatchObject({ name: "demo", version: "1.0" });
  });
});

// The JavaScript gRPC exporter (0.223) never retries.
describe.each(exporters.filter(([name]) => name === "proto" || name === "json"))(
  "%s exporter",
  (_name, open) => {
    test("retries after a retryable refusal", async () => {
      await using receiver = await startReceiver();
      const accept = receiver.sink.answer;
      receiver.sink.answer = (request) =>
        receiver.sink.requests.length === 1
          ? Promise.reject(new SpoorError("Unavailable", "log is behind", { retryAfterMs: 10 }))
          : accept(request);
      await sendTraces(open(receiver), 1);
      expect(receiver.sink.requests.length).toBeGreaterThanOrEqual(2);
      const [first, second] = receiver.sink.requests;
      expect(decodeTraceData(second.body)).toEqual(decodeTraceData(first.body));
    });
  },
);
