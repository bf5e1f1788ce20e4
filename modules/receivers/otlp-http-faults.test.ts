import { Agent } from "node:http";
import { describe, expect, test } from "vitest";
import { openSocket, readAll, sendHttp } from "./client-fixture.ts";
import { eventually, startReceiver } from "./receiver-fixture.ts";

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
    expect(await readAll(slowHead)).toMatch(/^HTTP\/1\.1 408 /);
    const slowBody = await openSocket(receiver.httpPort);
    slowBody.write(
      "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n" +
        "Content-Length: 1000\r\n\r\nabc",
    );
    expect(await readAll(slowBody)).toMatch(/^HTTP\/1\.1 408 /);
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

  test("closes what is not answered by the deadline", async () => {
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
      code: "EADDRINUSE",
    });
    await expect(startReceiver({ httpPort: receiver.httpPort })).rejects.toMatchObject({
      code: "EADDRINUSE",
    });
  });
});
