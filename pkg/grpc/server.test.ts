import { once } from "node:events";
import { connect } from "node:net";
import { deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type ErrorCode, errorTable, SpoorError } from "#pkg/errors/errors.ts";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "#pkg/pb/grpc/health/v1/health_pb.ts";
import type { Right } from "#pkg/tenant/access.ts";
import { frameMessage } from "./frame.ts";
import {
  messagesIn,
  openStream,
  sendBytes,
  serveMethods,
  streaming,
  type TestGrpc,
  unary,
} from "./grpc.testing.ts";
import { unaryMethod } from "./methods.ts";
import { readTrailers } from "./metadata.ts";

const path = "/test.Test/Echo";
const hello = frameMessage(Buffer.from("hello"));
const echo = unary("Echo", async (call) => await call.inflated());

function compressed(bytes: Uint8Array): Buffer {
  const frame = frameMessage(bytes);
  frame[0] = 1;
  return frame;
}

/** Status, and how often the client was answered. */
async function statusOf(
  grpc: TestGrpc,
  bytes: Uint8Array,
  headers: Record<string, string> = {},
): Promise<string> {
  const answer = await sendBytes(openStream(grpc.session, path, headers), bytes);
  expect(answer.isTrailersOnly).toBe(answer.headers["grpc-status"] !== "0");
  return String(answer.headers["grpc-status"]);
}

describe("unary calls", () => {
  test("a message goes in and one comes out, plain and in every encoding", async () => {
    await using grpc = await serveMethods([echo]);
    const text = Buffer.from("hello");
    const cases: [string, Buffer][] = [
      ["identity", hello],
      ["gzip", hello],
      ["gzip", compressed(gzipSync(text))],
      ["deflate", compressed(deflateSync(text))],
      ["zstd", compressed(zstdCompressSync(text))],
    ];
    for (const [encoding, frame] of cases) {
      const stream = openStream(grpc.session, path, { "grpc-encoding": encoding });
      const { headers, body } = await sendBytes(stream, frame);
      expect([headers["grpc-status"], messagesIn(body)], encoding).toEqual(["0", ["hello"]]);
    }
    expect(await statusOf(grpc, compressed(gzipSync(text)))).toBe("3");
    expect(await statusOf(grpc, compressed(text), { "grpc-encoding": "gzip" })).toBe("3");
    const unknown = await sendBytes(
      openStream(grpc.session, path, { "grpc-encoding": "br" }),
      hello,
    );
    expect(unknown.headers).toMatchObject({
      "grpc-status": "12",
      "grpc-accept-encoding": "identity,gzip,zstd,deflate,snappy",
    });
    expect(grpc.inFlight).toMatchObject({ requests: 0, bytes: 0 });
  });

  test("what is cut at any byte, or too long, or not one message, reaches no handler", async () => {
    let handled = 0;
    const counting = unary("Echo", async ({ message }) => (handled++, message.bytes), {
      requestBytesMax: 100,
    });
    await using grpc = await serveMethods([counting]);
    for (let length = 0; length < hello.length; length++) {
      expect(await statusOf(grpc, hello.subarray(0, length)), `${length}`).toBe("3");
    }
    expect(await statusOf(grpc, Buffer.concat([hello, hello]))).toBe("3");
    expect(await statusOf(grpc, Buffer.from([7, 0, 0, 0, 0]))).toBe("3");
    expect(await statusOf(grpc, Buffer.from([0, 0, 0, 0, 101]))).toBe("8");
    expect(handled).toBe(0);
    expect(await statusOf(grpc, hello)).toBe("0");
    expect(handled).toBe(1);
    expect(grpc.inFlight).toMatchObject({ requests: 0, bytes: 0 });
  });

  test("methods and services that are not in the table are unimplemented", async () => {
    await using grpc = await serveMethods([echo]);
    for (const other of ["/test.Test/echo", "/test.Other/Echo", "/", "/test.Test/Echo/", ""]) {
      const stream = openStream(grpc.session, other === "" ? "/?" : other);
      const { headers, isTrailersOnly } = await sendBytes(stream, hello);
      expect([headers["grpc-status"], isTrailersOnly], other).toEqual(["12", true]);
    }
    expect(new Set(grpc.refused.map(({ reason }) => reason))).toEqual(new Set(["unimplemented"]));
    expect(grpc.refused).toHaveLength(5);
  });

  test("an error is its code's status, with its text whatever is in it", async () => {
    const codes = Object.keys(errorTable) as ErrorCode[];
    const message = "100% é\n\u{1f600}";
    const failing = unary("Echo", async (call) => {
      const code = Buffer.from(await call.inflated()).toString() as ErrorCode;
      throw new SpoorError(code, message, { retryAfterMs: 1500, reason: "queue_full" });
    });
    await using grpc = await serveMethods([failing]);
    for (const code of codes) {
      const frame = frameMessage(Buffer.from(code));
      const { headers, isTrailersOnly } = await sendBytes(openStream(grpc.session, path), frame);
      expect(isTrailersOnly).toBe(true);
      const { grpcStatus } = errorTable[code];
      const status = { code: grpcStatus, message, retryAfterMs: 1500, reason: "queue_full" };
      expect(readTrailers(headers), code).toEqual(status);
    }
  });

  test("an expired deadline ends the call and aborts the handler", async () => {
    const ended = Promise.withResolvers<unknown>();
    const waiting = unary("Echo", async ({ signal }) => {
      await once(signal, "abort");
      ended.resolve(signal.reason);
      throw signal.reason;
    });
    await using grpc = await serveMethods([waiting]);
    expect(await statusOf(grpc, hello, { "grpc-timeout": "20m" })).toBe("4");
    expect(await ended.promise).toMatchObject({ code: "Timeout", reason: "deadline" });
    expect(await statusOf(grpc, hello, { "grpc-timeout": "0m" })).toBe("4");
    expect(await statusOf(grpc, hello, { "grpc-timeout": "20 ms" })).toBe("3");
  });

  test("a method is only for those with its right, and knows for whom it is", async () => {
    const rights: Right[] = ["open", "read", "write", "operate", "admin"];
    const methods = rights.map((right) =>
      unary(right, async ({ viewer }) => Buffer.from(viewer.tenant ?? "all"), { right }),
    );
    await using grpc = await serveMethods(methods);
    const ask = async (right: Right, headers: Record<string, string>): Promise<unknown> => {
      const stream = openStream(grpc.session, `/test.Test/${right}`, headers);
      const answer = await sendBytes(stream, hello);
      const code = answer.headers["grpc-status"];
      return code === "0" ? messagesIn(answer.body)[0] : code;
    };
    const askAll = (headers: Record<string, string>): Promise<unknown[]> =>
      Promise.all(rights.map((right) => ask(right, headers)));
    expect(await askAll({})).toEqual(["all", "16", "16", "16", "16"]);
    expect(await askAll({ "x-scope-orgid": "a" })).toEqual(["all", "a", "a", "16", "16"]);
    expect(await askAll({ authorization: "Bearer s3cret" })).toEqual([
      "all",
      "all",
      "16",
      "all",
      "all",
    ]);
  });

  test("bytes that are no message of the schema are an invalid argument", async () => {
    const declared = { right: "open", requestBytesMax: 100 } as const;
    const check = unaryMethod(Health.method.check, declared, async ({ service }) => ({
      status: service === "AB" ? ServingStatus.NOT_SERVING : ServingStatus.UNKNOWN,
    }));
    await using grpc = await serveMethods([check]);
    const send = (bytes: number[]) =>
      sendBytes(
        openStream(grpc.session, "/grpc.health.v1.Health/Check"),
        frameMessage(Uint8Array.from(bytes)),
      );
    const good = await send([0x0a, 2, 65, 66]);
    expect([...good.body]).toEqual([0, 0, 0, 0, 2, 0x08, 2]);
    for (const bad of [[0x0a], [0x0a, 9, 65], [0x0f]]) {
      expect((await send(bad)).headers["grpc-status"], String(bad)).toBe("3");
    }
    expect(grpc.failed.map(({ reason }) => reason)).toEqual(Array(3).fill("invalid_protobuf"));
  });
});

test("connections over the bound are closed and counted", async () => {
  await using grpc = await serveMethods([echo], { connectionsMax: 1 });
  expect(await statusOf(grpc, hello)).toBe("0");
  const second = connect(grpc.port, "127.0.0.1");
  second.on("error", () => undefined);
  await once(second, "close");
  expect(grpc.refused).toMatchObject([{ reason: "connections", message: "over 1 connections" }]);
});

describe("streams of answers", () => {
  const streamPath = "/test.Test/List";

  test("come in order, one frame each, and then the status", async () => {
    const list = streaming("List", async function* (request) {
      for (let i = 0; i < 3; i++) yield Buffer.from(`${Buffer.from(request).toString()} ${i}`);
    });
    await using grpc = await serveMethods([list]);
    const headers = { "grpc-encoding": "gzip" };
    const stream = openStream(grpc.session, streamPath, headers);
    const answer = await sendBytes(stream, compressed(gzipSync("hello")));
    expect(messagesIn(answer.body)).toEqual(["hello 0", "hello 1", "hello 2"]);
    expect([answer.headers["grpc-status"], answer.isTrailersOnly]).toEqual(["0", false]);
  });

  test("an empty one is a status alone", async () => {
    await using grpc = await serveMethods([streaming("List", async function* () {})]);
    const answer = await sendBytes(openStream(grpc.session, streamPath), hello);
    expect([answer.headers["grpc-status"], answer.body.length]).toEqual(["0", 0]);
  });

  test.each([0, 2])("an error after %i messages ends it with its status", async (count) => {
    const list = streaming("List", async function* () {
      for (let i = 0; i < count; i++) yield Buffer.from(`${i}`);
      throw new SpoorError("Unavailable", "gone", { reason: "stopping" });
    });
    await using grpc = await serveMethods([list]);
    const answer = await sendBytes(openStream(grpc.session, streamPath), hello);
    expect(messagesIn(answer.body)).toHaveLength(count);
    expect(readTrailers(answer.headers)).toEqual({ code: 14, message: "gone", reason: "stopping" });
    expect(answer.isTrailersOnly).toBe(count === 0);
    expect(grpc.failed).toHaveLength(1);
  });

  test("a deadline ends one that would go on", async () => {
    let ended = 0;
    const list = streaming("List", async function* (_, { signal }) {
      try {
        yield Buffer.from("first");
        await once(signal, "abort");
      } finally {
        ended++;
      }
    });
    await using grpc = await serveMethods([list]);
    const stream = openStream(grpc.session, streamPath, { "grpc-timeout": "30m" });
    const answer = await sendBytes(stream, hello);
    expect([messagesIn(answer.body), answer.headers["grpc-status"]]).toEqual([["first"], "4"]);
    expect(ended).toBe(1);
  });

  test("a client that has seen enough ends it, which is no failure; nothing is held", async () => {
    const ended = Promise.withResolvers<void>();
    const list = streaming("List", async function* (_, { signal }) {
      try {
        yield Buffer.from("first");
        await once(signal, "abort");
      } finally {
        ended.resolve();
      }
    });
    await using grpc = await serveMethods([list]);
    const stream = openStream(grpc.session, streamPath);
    stream.on("error", () => undefined);
    stream.end(hello);
    await once(stream, "data");
    expect(grpc.inFlight).toMatchObject({ requests: 0, bytes: 0 });
    stream.close(8);
    await ended.promise;
    expect(grpc.failed).toEqual([]);
  });

  test("makes no more than its client takes", async () => {
    let made = 0;
    const full = Promise.withResolvers<void>();
    const messageBytes = 64 * 1024;
    const list = streaming("List", async function* () {
      for (; made < 200; made++) {
        // The window of the client and the buffer of the stream are far smaller.
        if (made === 10) full.resolve();
        yield Buffer.alloc(messageBytes);
      }
    });
    await using grpc = await serveMethods([list]);
    const stream = openStream(grpc.session, streamPath);
    stream.pause();
    stream.end(hello);
    await once(stream, "response");
    // A ping comes back after everything that the server could send before it.
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => {
        grpc.session.ping(resolve);
      });
    }
    expect(made).toBeLessThan(10);
    stream.resume();
    await full.promise;
    await once(stream, "close");
    expect(made).toBe(200);
  });
});
