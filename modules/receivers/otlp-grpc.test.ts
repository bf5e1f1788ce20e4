import { readFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import type { Client, ServiceError } from "@grpc/grpc-js";
import { compressSync as snappyCompress } from "snappy";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ErrorCode, SpoorError } from "#pkg/errors/errors.ts";
import { callGrpc, demoTrace, openClient, sendStream } from "./client.testing.ts";
import { frameMessage } from "#pkg/grpc/frame.ts";
import { startReceiver, type TestReceiver } from "./receiver.testing.ts";

const healthPath = "/grpc.health.v1.Health/Check";
const mebibyte = 1024 * 1024;

describe("TraceService/Export", () => {
  let receiver: TestReceiver;
  let client: Client;
  let session: ClientHttp2Session;
  beforeAll(async () => {
    receiver = await startReceiver({ bodyBytesMax: 2 * mebibyte });
    client = openClient(receiver.grpcPort);
    session = connect(`http://127.0.0.1:${receiver.grpcPort}`);
  });
  afterAll(async () => {
    client.close();
    session.destroy();
    await receiver[Symbol.asyncDispose]();
  });

  test("the sink gets the bytes, the client an empty response", async () => {
    expect(await callGrpc(client)).toHaveLength(0);
    const { body, protocol, tenant } = receiver.sink.requests.at(-1)!;
    expect(Buffer.compare(body, demoTrace)).toBe(0);
    expect({ protocol, tenant }).toEqual({ protocol: "otlp_grpc", tenant: "single-tenant" });
  });

  test("captures of OpenTelemetry JS, plain and gzip", async () => {
    for (const [name, encoding] of [
      ["otel-grpc", undefined],
      ["otel-grpc-gzip", "gzip"],
    ] as const) {
      const body = readFileSync(`testdata/captures/${name}.01.bin`);
      const before = receiver.sink.requests.length;
      const answer = await sendStream(session, body, { "grpc-encoding": encoding });
      expect(answer.headers[":status"]).toBe(200);
      expect(answer.headers["content-type"]).toBe("application/grpc+proto");
      expect(answer.trailers["grpc-status"]).toBe("0");
      expect([...answer.body]).toEqual([0, 0, 0, 0, 0]);
      expect(receiver.sink.spans(before).map((span) => span.name)).toEqual([
        "SELECT orders",
        "charge card",
        "GET /checkout",
      ]);
    }
  });

  test("all encodings, and an uncompressed message where one is named", async () => {
    const compressed = (body: Uint8Array): Buffer => {
      const frame = frameMessage(body);
      frame[0] = 1;
      return frame;
    };
    const cases: [string, Buffer][] = [
      ["gzip", compressed(gzipSync(demoTrace))],
      ["zstd", compressed(zstdCompressSync(demoTrace))],
      ["deflate", compressed(deflateSync(demoTrace))],
      ["snappy", compressed(snappyCompress(demoTrace))],
      ["gzip", frameMessage(demoTrace)],
      ["identity", frameMessage(demoTrace)],
    ];
    for (const [encoding, body] of cases) {
      const answer = await sendStream(session, body, { "grpc-encoding": encoding });
      expect(answer.trailers["grpc-status"], encoding).toBe("0");
      expect(Buffer.compare(receiver.sink.requests.at(-1)!.body, demoTrace)).toBe(0);
    }
    const unknown = await sendStream(session, compressed(demoTrace), { "grpc-encoding": "lz4" });
    expect(unknown.headers).toMatchObject({
      "grpc-status": "12",
      "grpc-accept-encoding": "identity,gzip,zstd,deflate,snappy",
    });
    const unnamed = await sendStream(session, compressed(gzipSync(demoTrace)));
    expect(unnamed.headers["grpc-status"]).toBe("3");
  });

  test("bodies larger than the windows", async () => {
    const padding = Buffer.alloc(1_900_000);
    padding.set([0x12, ...varint(padding.length - 4)], 0);
    const body = Buffer.concat([padding, demoTrace]);
    expect(await callGrpc(client, { body })).toHaveLength(0);
    expect(receiver.sink.requests.at(-1)!.body).toHaveLength(body.length);
  });

  test("partial success", async () => {
    const body = Buffer.from([0x0a, 4, 0x12, 2, 0x12, 0]);
    const message = "trace id has 0 bytes, not 16";
    const partial = [0x08, 1, 0x12, message.length, ...Buffer.from(message)];
    expect([...(await callGrpc(client, { body }))]).toEqual([0x0a, partial.length, ...partial]);
  });

  test("bytes that do not parse", async () => {
    await expect(callGrpc(client, { body: demoTrace.subarray(0, 100) })).rejects.toMatchObject({
      code: 3,
      details: expect.stringMatching(/^invalid protobuf: truncated/) as string,
    });
  });

  test("too large: announced, and after inflating; never with RetryInfo", async () => {
    const large = callGrpc(client, { body: Buffer.alloc(3 * mebibyte) });
    const error = await large.catch((thrown: unknown) => thrown as ServiceError);
    expect(error).toMatchObject({ code: 8 });
    const bomb = frameMessage(gzipSync(Buffer.alloc(100 * mebibyte)));
    bomb[0] = 1;
    const answer = await sendStream(session, bomb, { "grpc-encoding": "gzip" });
    expect(answer.headers["grpc-status"]).toBe("8");
    const details = answer.headers["grpc-status-details-bin"] as string;
    expect(Buffer.from(details, "base64").toString("latin1")).not.toContain("RetryInfo");
  });

  test("malformed messages", async () => {
    const frame = frameMessage(demoTrace);
    const bad: Record<string, Uint8Array> = {
      "no message": new Uint8Array(),
      "half a head": frame.subarray(0, 3),
      "half a message": frame.subarray(0, 100),
      "two messages": Buffer.concat([frame, frame]),
      "trailing bytes": Buffer.concat([frame, Buffer.from([1])]),
      "flag 9": Buffer.from([9, 0, 0, 0, 0]),
    };
    const before = receiver.sink.requests.length;
    for (const [what, body] of Object.entries(bad)) {
      expect((await sendStream(session, body)).headers["grpc-status"], what).toBe("3");
    }
    expect(receiver.sink.requests).toHaveLength(before);
    const inFlight = await receiver.metric("spoor_receivers_in_flight_bytes");
    expect(inFlight).toBe(0);
  });

  test("what is not for us", async () => {
    const path = { ":path": "/opentelemetry.proto.collector.logs.v1.LogsService/Export" };
    expect((await sendStream(session, frameMessage(demoTrace), path)).headers["grpc-status"]).toBe(
      "12",
    );
    await expect(callGrpc(client, { path: "/x.Y/Z" })).rejects.toMatchObject({ code: 12 });
    const cases: [Record<string, string>, number][] = [
      [{ "content-type": "application/json" }, 415],
      [{ "content-type": "application/grpc-web" }, 415],
      [{ "content-type": "application/grpc+json" }, 415],
      [{ ":method": "PUT" }, 405],
    ];
    for (const [headers, status] of cases) {
      const answer = await sendStream(session, frameMessage(demoTrace), headers);
      expect(answer.headers[":status"], JSON.stringify(headers)).toBe(status);
    }
    const variant = { "content-type": "application/grpc+proto; charset=utf-8" };
    const accepted = await sendStream(session, frameMessage(demoTrace), variant);
    expect(accepted.trailers["grpc-status"]).toBe("0");
  });

  test("health check", async () => {
    const service = (name: string): Buffer =>
      Buffer.from([0x0a, name.length, ...Buffer.from(name)]);
    const whole = await callGrpc(client, { path: healthPath, body: Buffer.alloc(0) });
    expect([...whole]).toEqual([0x08, 1]);
    const name = "opentelemetry.proto.collector.trace.v1.TraceService";
    const one = await callGrpc(client, { path: healthPath, body: service(name) });
    expect([...one]).toEqual([0x08, 1]);
    await expect(
      callGrpc(client, { path: healthPath, body: service("x.Y") }),
    ).rejects.toMatchObject({
      code: 5,
    });
  });

  test("a malformed timeout is refused", async () => {
    const answer = await sendStream(session, frameMessage(demoTrace), { "grpc-timeout": "1y" });
    expect(answer.headers["grpc-status"]).toBe("3");
  });
});

describe("errors of the sink", () => {
  const cases: [ErrorCode, number | undefined, { code: number; retryMs?: number }][] = [
    ["InvalidInput", undefined, { code: 3 }],
    ["Unauthenticated", undefined, { code: 16 }],
    ["TooLarge", undefined, { code: 8 }],
    ["LimitExceeded", 1500, { code: 8, retryMs: 1500 }],
    ["LimitExceeded", undefined, { code: 8, retryMs: 5000 }],
    ["Unavailable", 30_000, { code: 14, retryMs: 30_000 }],
    ["Internal", undefined, { code: 13 }],
  ];
  test.each(cases)("%s, retry after %s ms", async (code, retryAfterMs, want) => {
    await using receiver = await startReceiver();
    receiver.sink.answer = () =>
      Promise.reject(new SpoorError(code, "détail 100%", { retryAfterMs, reason: "queue_full" }));
    const client = openClient(receiver.grpcPort);
    const error = await callGrpc(client).catch((thrown: unknown) => thrown as ServiceError);
    client.close();
    expect(error).toMatchObject({ code: want.code });
    const { details, metadata } = error as ServiceError;
    expect(details === "détail 100%").toBe(code !== "Internal");
    const [bytes] = metadata.get("grpc-status-details-bin") as Buffer[];
    expect([...bytes.subarray(0, 2)]).toEqual([0x08, want.code]);
    expect(bytes.indexOf("google.rpc.ErrorInfo")).toBeGreaterThan(0);
    expect(bytes.indexOf("queue_full")).toBeGreaterThan(bytes.indexOf("google.rpc.ErrorInfo"));
    const retryInfo = bytes.indexOf("google.rpc.RetryInfo");
    expect(retryInfo !== -1).toBe(want.retryMs !== undefined);
    if (want.retryMs === undefined) return;
    // Any.value 2: RetryInfo { 1: Duration { 1: seconds, 2: nanos } }
    const duration = [0x08, ...varint(Math.floor(want.retryMs / 1000))];
    const nanos = (want.retryMs % 1000) * 1_000_000;
    if (nanos > 0) duration.push(0x10, ...varint(nanos));
    const tail = [0x12, duration.length + 2, 0x0a, duration.length, ...duration];
    expect([...bytes.subarray(retryInfo + "google.rpc.RetryInfo".length)]).toEqual(tail);
  });
});

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}
