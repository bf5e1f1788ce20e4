import { createServer } from "node:http2";
import { expect, onTestFinished, test } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { listenOn, stopAll } from "#pkg/listen/addresses.ts";
import { GrpcClient, type GrpcClientOptions } from "./client.ts";
import { serveMethods, unary } from "./grpc.testing.ts";

const path = "/test.Test/Echo";
const hello = Buffer.from("hello");

function clientOf(port: number, options: Partial<GrpcClientOptions> = {}): GrpcClient {
  const origin = `http://127.0.0.1:${port}`;
  const client = new GrpcClient({ origin, timeoutMs: 30_000, answerBytesMax: 1000, ...options });
  onTestFinished(() => client.close());
  return client;
}

test("returns the response, or the status with its details", async () => {
  const methods = [
    unary("Echo", async ({ message }) => message.bytes),
    unary("Fail", async () => {
      throw new SpoorError("LimitExceeded", "50 % é", { reason: "log_full", retryAfterMs: 20 });
    }),
  ];
  await using grpc = await serveMethods(methods);
  const client = clientOf(grpc.port);
  const { status, message } = await client.call(path, hello);
  expect([status.code, Buffer.from(message).toString()]).toEqual([0, "hello"]);
  expect(await client.call("/test.Test/Fail", hello)).toEqual({
    status: { code: 8, message: "50 % é", reason: "log_full", retryAfterMs: 20 },
    message: new Uint8Array(),
  });
});

test("sends its metadata and its deadline", async () => {
  const endless = unary("Echo", ({ viewer }) => new Promise(() => viewer), { right: "write" });
  await using grpc = await serveMethods([endless]);
  const metadata = { "x-scope-orgid": "a" };
  const call = clientOf(grpc.port, { metadata, timeoutMs: 50 }).call(path, hello);
  const ended = await call.then(
    ({ status }) => status.code,
    (error: SpoorError) => error.code,
  );
  // Its own clock or the server's: whichever is first.
  expect(["Timeout", 4]).toContain(ended);
});

test("an answer that is too large, or none of gRPC, is an error", async () => {
  await using grpc = await serveMethods([unary("Echo", async () => Buffer.alloc(1001))]);
  await expect(clientOf(grpc.port).call(path, hello)).rejects.toMatchObject({ code: "TooLarge" });
  const server = createServer((_, response) => response.writeHead(404).end("nothing here"));
  const port = await listenOn(server, { host: "127.0.0.1", port: 0 });
  onTestFinished(() => void server.close());
  await expect(clientOf(port).call(path, hello)).rejects.toMatchObject({
    code: "Unavailable",
    message: "response without grpc-status, HTTP status 404",
  });
});

test("connects again when the server has been away", async () => {
  const methods = [unary("Echo", async ({ message }) => message.bytes)];
  const first = await serveMethods(methods);
  const { port } = first;
  const client = clientOf(port);
  expect((await client.call(path, hello)).status.code).toBe(0);
  first.session.destroy();
  await stopAll([first.server], 0);
  await expect(client.call(path, hello)).rejects.toThrow();
  await using second = await serveMethods(methods, { address: { host: "127.0.0.1", port } });
  expect(second.port).toBe(port);
  expect((await client.call(path, hello)).status.code).toBe(0);
});
