import { readFileSync } from "node:fs";
import { Agent } from "node:http";
import { deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ErrorCode, SpoorError } from "#pkg/errors/errors.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import {
  type Answer,
  demoTrace,
  openSocket,
  type Post,
  readAll,
  sendHttp,
} from "./client.testing.ts";
import { startReceiver, type TestReceiver } from "./receiver.testing.ts";

const json = readFileSync("testdata/captures/otel-json.01.bin");
const mebibyte = 1024 * 1024;

describe("POST /v1/traces", () => {
  let receiver: TestReceiver;
  beforeAll(async () => {
    receiver = await startReceiver({ bodyBytesMax: 2 * mebibyte });
  });
  afterAll(async () => {
    await receiver[Symbol.asyncDispose]();
  });
  const post = (options: Post): Promise<Answer> => sendHttp(receiver.httpPort, options);

  test("protobuf: the sink gets the bytes, the client 200 and no bytes", async () => {
    const answer = await post({});
    expect(answer).toMatchObject({ status: 200, body: Buffer.alloc(0) });
    expect(answer.headers["content-type"]).toBe("application/x-protobuf");
    const { body, protocol, tenant } = receiver.sink.requests.at(-1)!;
    expect(Buffer.compare(body, demoTrace)).toBe(0);
    expect({ protocol, tenant }).toEqual({ protocol: "otlp_http", tenant: "single-tenant" });
  });

  test("JSON: the sink gets protobuf, the client {}", async () => {
    const answer = await post({
      body: json,
      headers: { "content-type": "application/json; charset=utf-8" },
    });
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer).toMatchObject({ status: 200, body: Buffer.from("{}") });
    const names = receiver.sink.spans().map(({ name }) => name);
    expect(names.slice(-3)).toEqual(["SELECT orders", "charge card", "GET /checkout"]);
  });

  test("all encodings", async () => {
    const encodings: [string, Uint8Array][] = [
      ["gzip", gzipSync(demoTrace)],
      ["x-gzip", gzipSync(demoTrace)],
      ["zstd", zstdCompressSync(demoTrace)],
      ["deflate", deflateSync(demoTrace)],
      ["deflate", deflateRawSync(demoTrace)],
      ["none", demoTrace],
      ["identity", demoTrace],
      ["gzip", readFileSync("testdata/captures/otel-proto-gzip.01.bin")],
    ];
    for (const [encoding, body] of encodings) {
      const answer = await post({ body, headers: { "content-encoding": encoding } });
      expect(answer.status, encoding).toBe(200);
      const spans = decodeTraceData(receiver.sink.requests.at(-1)!.body).resourceSpans[0]
        .scopeSpans[0].spans;
      expect(
        spans.map(({ name }) => name),
        encoding,
      ).toContain("charge card");
    }
  });

  test("chunked bodies and bodies of many pieces", async () => {
    const head =
      "POST /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" +
      "Content-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n";
    const pieces: Buffer[] = [Buffer.from(head)];
    for (let pos = 0; pos < demoTrace.length; pos += 100) {
      const piece = demoTrace.subarray(pos, pos + 100);
      pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n"));
    }
    pieces.push(Buffer.from("0\r\n\r\n"));
    const socket = await openSocket(receiver.httpPort);
    for (const piece of pieces) socket.write(piece);
    expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(Buffer.compare(receiver.sink.requests.at(-1)!.body, demoTrace)).toBe(0);
  });

  test("an empty request is a success", async () => {
    expect(await post({ body: new Uint8Array() })).toMatchObject({ status: 200 });
    expect(receiver.sink.requests.at(-1)!.body).toHaveLength(0);
  });

  test("partial success in both formats", async () => {
    const data = decodeTraceData(demoTrace);
    data.resourceSpans[0].scopeSpans[0].spans[0].traceId = new Uint8Array(3);
    const body = encodeTraceData(data);
    const message = "trace id has 3 bytes, not 16";
    const inProto = await post({ body });
    const partial = [0x08, 1, 0x12, message.length, ...Buffer.from(message)];
    expect([...inProto.body]).toEqual([0x0a, partial.length, ...partial]);
    const bad = JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [{}] }] }] });
    const headers = { "content-type": "application/json" };
    const inJson = await post({ body: Buffer.from(bad), headers });
    expect(inJson.status).toBe(200);
    expect(JSON.parse(inJson.body.toString())).toEqual({
      partialSuccess: { rejectedSpans: "1", errorMessage: "trace id has 0 bytes, not 16" },
    });
  });

  test("what is not for us: 404, 405, 415", async () => {
    const cases: [Post, number][] = [
      [{ path: "/v1/metrics" }, 404],
      [{ path: "/" }, 404],
      [{ path: "/v1/traces/" }, 404],
      [{ method: "GET" }, 405],
      [{ method: "PUT" }, 405],
      [{ headers: { "content-type": "text/plain" } }, 415],
      [{ headers: { "content-type": "" } }, 415],
      [{ headers: { "content-encoding": "br" } }, 415],
      [{ headers: { "content-encoding": "gzip, gzip" } }, 415],
    ];
    const before = receiver.sink.requests.length;
    for (const [options, status] of cases) {
      const answer = await post(options);
      expect(answer.status, JSON.stringify(options)).toBe(status);
      if (status === 405) expect(answer.headers.allow).toBe("POST, OPTIONS");
    }
    expect(receiver.sink.requests).toHaveLength(before);
    const unknown = await post({ headers: { "content-encoding": "br" } });
    expect(unknown.headers["accept-encoding"]).toBe("identity, gzip, zstd, deflate, snappy");
    expect(unknown.body.toString("latin1")).toContain("content encoding must be identity, gzip");
    expect((await post({ path: "/v1/traces?x=1" })).status).toBe(200);
  });

  test("bytes that do not parse: 400 with a google.rpc.Status in the request's format", async () => {
    const inProto = await post({ body: demoTrace.subarray(0, 100) });
    expect(inProto.status).toBe(400);
    expect([...inProto.body.subarray(0, 3)]).toEqual([0x08, 3, 0x12]);
    expect(inProto.body.toString("latin1")).toContain("invalid protobuf: truncated");
    const headers = { "content-type": "application/json" };
    const inJson = await post({ body: Buffer.from('{"resourceSpans":5}'), headers });
    expect(inJson.status).toBe(400);
    expect(JSON.parse(inJson.body.toString())).toEqual({
      code: 3,
      message: "invalid OTLP/JSON at resourceSpans, byte 17: expected an array",
      details: [
        {
          "@type": "type.googleapis.com/google.rpc.ErrorInfo",
          reason: "invalid_json",
          domain: "spoor",
        },
      ],
    });
    const notGzip = await post({ headers: { "content-encoding": "gzip" } });
    expect(notGzip.status).toBe(400);
  });

  test("too large: by its length, while it comes, while it is inflated", async () => {
    const large = Buffer.alloc(3 * mebibyte);
    const byLength = await post({ body: large });
    expect(byLength.status).toBe(413);
    const chunked = await post({ body: large, headers: { "transfer-encoding": "chunked" } });
    expect(chunked.status).toBe(413);
    expect(chunked.headers["retry-after"]).toBeUndefined();
    for (const [encoding, body] of [
      ["gzip", gzipSync(Buffer.alloc(100 * mebibyte))],
      ["zstd", zstdCompressSync(Buffer.alloc(100 * mebibyte))],
      ["deflate", deflateSync(Buffer.alloc(100 * mebibyte))],
    ] as const) {
      const bomb = await post({ body, headers: { "content-encoding": encoding } });
      expect(bomb.status, encoding).toBe(413);
      expect(bomb.body[1]).toBe(8);
    }
  });

  test("after a refusal the connection serves the next request", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      const body = Buffer.alloc(3 * mebibyte);
      const headers = { "transfer-encoding": "chunked" };
      expect((await sendHttp(receiver.httpPort, { body, headers, agent })).status).toBe(413);
      expect((await sendHttp(receiver.httpPort, { agent })).status).toBe(200);
    } finally {
      agent.destroy();
    }
  });

  test("large JSON is converted on a worker thread, its errors come back typed", async () => {
    const { resourceSpans } = JSON.parse(json.toString()) as { resourceSpans: unknown[] };
    const [one] = resourceSpans;
    const headers = { "content-type": "application/json" };
    const body = Buffer.from(
      JSON.stringify({ resourceSpans: Array.from({ length: 200 }, () => one) }),
    );
    expect(body.length).toBeGreaterThan(500_000);
    const before = receiver.sink.requests.length;
    expect((await post({ body, headers })).status).toBe(200);
    expect(receiver.sink.spans(before)).toHaveLength(600);
    const zipped = { ...headers, "content-encoding": "gzip" };
    expect((await post({ body: gzipSync(body), headers: zipped })).status).toBe(200);
    expect(receiver.sink.spans(before)).toHaveLength(1200);
    const cut = await post({ body: body.subarray(0, body.length - 2), headers });
    expect(cut.status).toBe(400);
    expect(JSON.parse(cut.body.toString())).toMatchObject({ code: 3 });
  });

  test("CORS: preflight and answers for pages of other origins", async () => {
    const preflight = await post({
      method: "OPTIONS",
      headers: {
        origin: "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,traceparent",
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers).toMatchObject({
      "access-control-allow-origin": "*",
      "access-control-allow-methods": "POST",
      "access-control-allow-headers": "content-type,traceparent",
      "access-control-max-age": "86400",
    });
    const answer = await post({ headers: { origin: "https://shop.example" } });
    expect(answer.headers["access-control-allow-origin"]).toBe("*");
    expect(answer.headers["access-control-allow-credentials"]).toBeUndefined();
    expect((await post({})).headers["access-control-allow-origin"]).toBeUndefined();
  });

  test("bytes that are not HTTP get 400 and are counted", async () => {
    const socket = await openSocket(receiver.httpPort);
    socket.write("\x16\x03\x01 not http\r\n\r\n");
    expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 400 /);
    const labels = 'protocol="otlp_http",reason="invalid_http"';
    expect(await receiver.metric("spoor_receivers_refused_requests_total", labels)).toBe(1);
  });
});

describe("errors of the sink", () => {
  const cases: [ErrorCode, number | undefined, { status: number; retryAfter?: string }][] = [
    ["InvalidInput", undefined, { status: 400 }],
    ["Unauthenticated", undefined, { status: 401 }],
    ["TooLarge", undefined, { status: 413 }],
    ["LimitExceeded", 1500, { status: 429, retryAfter: "2" }],
    ["LimitExceeded", undefined, { status: 429, retryAfter: "5" }],
    ["Unavailable", 30_000, { status: 503, retryAfter: "30" }],
    ["Timeout", undefined, { status: 504 }],
    ["Internal", undefined, { status: 500 }],
  ];
  test.each(cases)("%s, retry after %s ms", async (code, retryAfterMs, want) => {
    await using receiver = await startReceiver();
    receiver.sink.answer = () =>
      Promise.reject(new SpoorError(code, "secret detail", { retryAfterMs, reason: "queue_full" }));
    const headers = { "content-type": "application/json" };
    const answer = await sendHttp(receiver.httpPort, { body: json, headers });
    expect(answer.status).toBe(want.status);
    expect(answer.headers["retry-after"]).toBe(want.retryAfter);
    const status = JSON.parse(answer.body.toString()) as { message: string; details?: unknown };
    expect(status.message.includes("secret")).toBe(code !== "Internal");
    if (retryAfterMs !== undefined) {
      const retryDelay = `${retryAfterMs / 1000}s`;
      const errorInfo = "type.googleapis.com/google.rpc.ErrorInfo";
      expect(status.details).toEqual([
        { "@type": errorInfo, reason: "queue_full", domain: "spoor" },
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay },
      ]);
    }
    const labels = 'protocol="otlp_http",reason="queue_full"';
    expect(await receiver.metric("spoor_receivers_refused_requests_total", labels)).toBe(1);
  });
});
