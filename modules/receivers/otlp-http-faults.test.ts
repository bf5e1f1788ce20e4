import { Agent } from "node:http";
import { describe, expect, test } from "vitest";
import { openSocket, readAll, sendHttp } from "./client.testing.ts";
import { eventually, startReceiver } from "./receiver.testing.ts";

const mebibyte = 1024 * 1024;

describe("clients that misbehave", () => {
  test("one that goes away in its body leaks nothing", async () => {
    await using receiver = await startReceiver();
    const socket = await openSocket(receiver.httpPort);
    socket.write(
      "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n" +
        `Content-Length: 100000\r\n\r\n${"x".repeat(5000)}`,
    );
    const bytes = (): Promise<number> => receiver.metric("spoor_receivers_in_flight_bytes");
    await eventually(async () => (await bytes()) === 5000);
    socket.destroy();
    await eventually(async () => (await bytes()) === 0);
    expect(await receiver.metric("spoor_receivers_in_flight_requests")).toBe(0);
    const labels = 'protocol="otlp_http",reason="client_gone"';
    expect(await receiver.metric("spoor_receivers_refused_requests_total", labels)).toBe(1);
    expect(receiver.sink.requests).toHaveLength(0);
  });

  test("one that goes away while its spans are stored aborts the push", async () => {
    await using receiver = await startReceiver();
    receiver.sink.answer = ({ signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      });
    const socket = await openSocket(receiver.httpPort);
    socket.write(
      "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n" +
        "Content-Length: 0\r\n\r\n",
    );
    await receiver.sink.received(1);
    socket.destroy();
    await eventually(
      async () => (await receiver.metric("spoor_receivers_in_flight_requests")) === 0,
    );
    expect(receiver.sink.requests[0].signal.aborted).toBe(true);
  });

  test("one that sends its headers or its body too slowly is cut off", async () => {
    await using receiver = await startReceiver({ headersTimeoutMs: 100, requestTimeoutMs: 200 });
    const slowHead = await openSocket(receiver.httpPort);
    slowHead.write("POST /v1/traces HTTP/1.1\r\nHost: x\r\n");
    expect(await readAll(slowHead)).toMatch(
      /^HTTP\/1\.1 408 (.|\r|\n)+headers were not sent in time/,
    );
    const slowBody = await openSocket(receiver.httpPort);
    slowBody.write(
      "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n" +
        "Content-Length: 1000\r\n\r\nabc",
    );
    // OTLP clients send again after 503, not after 408.
    const answer = await readAll(slowBody);
    expect(answer).toMatch(/^HTTP\/1\.1 503 /);
    expect(answer).toContain("\r\nRetry-After: 5\r\n");
    expect(answer).toContain("Content-Type: application/x-protobuf\r\n");
    expect(answer).toContain("body was not sent in time");
    await eventually(
      async () => (await receiver.metric("spoor_receivers_in_flight_requests")) === 0,
    );
    expect(await receiver.metric("spoor_receivers_in_flight_bytes")).toBe(0);
  });

  test.each([
    ["requests", { requestsMax: 2 }],
    ["bytes", { bodyBytesMax: 512 * 1024, bytesMax: mebibyte }],
  ])("more %s than fit are told to retry", async (what, config) => {
    await using receiver = await startReceiver(config);
    const release: (() => void)[] = [];
    receiver.sink.answer = () =>
      new Promise((resolve) => {
        release.push(() => resolve({ acceptedSpans: 0, rejectedSpans: 0, rejectedMessage: "" }));
      });
    const half = { body: Buffer.alloc(512 * 1024) };
    const both = Promise.all([
      sendHttp(receiver.httpPort, half),
      sendHttp(receiver.httpPort, half),
    ]);
    await receiver.sink.received(2);
    const third = await sendHttp(receiver.httpPort);
    expect(third).toMatchObject({ status: 429 });
    expect(third.headers["retry-after"]).toBe("1");
    const labels = `protocol="otlp_http",reason="${what}_in_flight"`;
    expect(await receiver.metric("spoor_receivers_refused_requests_total", labels)).toBe(1);
    for (const one of release) one();
    expect((await both).map(({ status }) => status)).toEqual([200, 200]);
    const fourth = sendHttp(receiver.httpPort);
    await receiver.sink.received(3);
    release[2]();
    expect(await fourth).toMatchObject({ status: 200 });
  });
});

describe("stop", () => {
  test("waits for what is in flight and closes its connection", async () => {
    const receiver = await startReceiver();
    let release: (() => void) | undefined;
    receiver.sink.answer = () =>
      new Promise((resolve) => {
        release = () => resolve({ acceptedSpans: 3, rejectedSpans: 0, rejectedMessage: "" });
      });
    const agent = new Agent({ keepAlive: true });
    const sent = sendHttp(receiver.httpPort, { agent });
    await receiver.sink.received(1);
    const stopped = receiver.receiver.stop(60_000);
    await expect(sendHttp(receiver.httpPort)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    release!();
    expect((await sent).status).toBe(200);
    agent.destroy();
    await stopped;
  });

  test("closes connections that are not answered by the deadline", async () => {
    const receiver = await startReceiver();
    receiver.sink.answer = () => new Promise(() => undefined);
    const sent = expect(sendHttp(receiver.httpPort)).rejects.toMatchObject({ code: "ECONNRESET" });
    await receiver.sink.received(1);
    await receiver.receiver.stop(10);
    await sent;
  });

  test("a taken port makes start fail and hold nothing", async () => {
    await using receiver = await startReceiver();
    await expect(startReceiver({ grpcPort: receiver.grpcPort })).rejects.toMatchObject({
      code: "Unavailable",
      reason: "listen",
      cause: { code: "EADDRINUSE" },
    });
    await expect(startReceiver({ httpPort: receiver.httpPort })).rejects.toMatchObject({
      code: "Unavailable",
      reason: "listen",
      cause: { code: "EADDRINUSE" },
    });
  });
});

describe("HTTP as the standards have it", () => {
  /** Sends a text unchanged and returns the whole response. */
  async function exchange(port: number, text: string | Buffer): Promise<string> {
    const socket = await openSocket(port);
    socket.end(text);
    return await readAll(socket);
  }
  const rest = `Content-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`;

  test("HTTP/1.0, an empty or missing Host, absolute targets and double slashes work", async () => {
    await using receiver = await startReceiver();
    for (const head of [
      "POST /v1/traces HTTP/1.0\r\n",
      "POST /v1/traces HTTP/1.1\r\nHost:\r\n",
      "POST /v1/traces HTTP/1.1\r\n",
      "POST http://proxy:4318/v1/traces HTTP/1.1\r\nHost: x\r\n",
      "POST //v1//traces?a=b HTTP/1.1\r\nHost: x\r\n",
    ]) {
      expect(await exchange(receiver.httpPort, head + rest), head).toMatch(/^HTTP\/1\.1 200 /);
    }
  });

  test("what cannot be read gets a status and a text that says why, and is listed", async () => {
    await using receiver = await startReceiver();
    const long = `POST /v1/traces HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(20_000)}\r\n${rest}`;
    const tooLong = await exchange(receiver.httpPort, long);
    expect(tooLong).toMatch(/^HTTP\/1\.1 431 (.|\r|\n)+"message":"request line and headers/);
    const raw = Buffer.from(`POST /v1/tr\u00e4ces HTTP/1.1\r\nHost: x\r\n${rest}`, "latin1");
    const odd = await exchange(receiver.httpPort, raw);
    expect(odd).toMatch(/^HTTP\/1\.1 400 (.|\r|\n)+must be percent-encoded/);
    const refused = receiver.refusals.list().map(({ reason, source }) => [source, reason]);
    expect(refused).toEqual([
      ["otlp_http", "invalid_http"],
      ["otlp_http", "headers_too_large"],
    ]);
  });
});

test("every refusal is listed with its reason and peer", async () => {
  await using receiver = await startReceiver();
  const headers = { "content-encoding": "lz4" };
  expect((await sendHttp(receiver.httpPort, { headers })).status).toBe(415);
  await sendHttp(receiver.httpPort, { path: "/v1/metrics" });
  await sendHttp(receiver.httpPort, { body: Buffer.from([1, 2, 3]) });
  const shown = receiver.refusals.list().map(({ reason, examples: [{ message, peer }] }) => {
    expect(peer).toMatch(/^(::ffff:)?127\.0\.0\.1:\d+$/);
    return [reason, message];
  });
  expect(shown).toEqual([
    ["invalid_protobuf", expect.any(String)],
    ["not_found", expect.stringContaining("/v1/traces")],
    ["content_encoding", expect.stringMatching(/not lz4: set `compression: gzip`/)],
  ]);
});

test("a body without spans that is not empty is a success with a warning", async () => {
  await using receiver = await startReceiver();
  const json = { "content-type": "application/json" };
  const send = async (text: string): Promise<unknown> => {
    const { status, body } = await sendHttp(receiver.httpPort, {
      headers: json,
      body: Buffer.from(text),
    });
    expect(status).toBe(200);
    return JSON.parse(body.toString());
  };
  for (const empty of ["{}", ' { "resourceSpans" : [] }\n']) expect(await send(empty)).toEqual({});
  for (const misspelt of ['{"batches":[{}]}', '{"resource_spans":[{"scope_spans":[]}]}']) {
    expect(await send(misspelt)).toEqual({
      partialSuccess: { errorMessage: expect.stringMatching(/^no span found.*"resourceSpans"$/) },
    });
  }
  const unknownField = await sendHttp(receiver.httpPort, { body: Buffer.from([0x7a, 1, 0]) });
  expect(unknownField.body.toString()).toContain("no span found in 3 bytes");
});
