import { connect, type IncomingHttpHeaders } from "node:http2";
import { connect as connectTcp } from "node:net";
import type { ServiceError } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { callGrpc, demoTrace, exportPath, openClient, sendStream } from "./client.testing.ts";
import { frameMessage } from "#pkg/grpc/frame.ts";
import { eventually, startReceiver } from "./receiver.testing.ts";

describe("clients that misbehave", () => {
  test("a deadline that passes aborts the push and answers DEADLINE_EXCEEDED", async () => {
    await using receiver = await startReceiver();
    receiver.sink.answer = () => new Promise(() => undefined);
    const session = connect(`http://127.0.0.1:${receiver.grpcPort}`);
    const answer = await sendStream(session, frameMessage(demoTrace), { "grpc-timeout": "50m" });
    session.destroy();
    expect(answer.headers["grpc-status"]).toBe("4");
    expect(receiver.sink.requests[0].signal.aborted).toBe(true);
    // The sink still holds the body.
    expect(await receiver.metric("spoor_receivers_in_flight_requests")).toBe(1);
  });

  test("one that goes away in its body leaks nothing", async () => {
    await using receiver = await startReceiver();
    const socket = connectTcp(receiver.grpcPort, "127.0.0.1");
    const session = connect("http://x", { createConnection: () => socket });
    const stream = session.request({
      ":method": "POST",
      ":path": exportPath,
      "content-type": "application/grpc",
    });
    stream.on("error", () => undefined);
    stream.write(frameMessage(Buffer.alloc(5000)).subarray(0, 3000));
    const requests = (): Promise<number> => receiver.metric("spoor_receivers_in_flight_requests");
    await eventually(async () => (await receiver.metric("spoor_receivers_in_flight_bytes")) > 0);
    stream.close(8);
    await eventually(async () => (await requests()) === 0);
    expect(await receiver.metric("spoor_receivers_in_flight_bytes")).toBe(0);
    session.on("error", () => undefined);
    const next = session.request({
      ":method": "POST",
      ":path": exportPath,
      "content-type": "application/grpc",
    });
    next.on("error", () => undefined);
    next.write(Buffer.from([0, 0]));
    await eventually(async () => (await requests()) === 1);
    socket.destroy();
    await eventually(async () => (await requests()) === 0);
    // Node's client ends the body of the stream that it closes: the first is just not complete.
    for (const reason of ["grpc_incomplete", "client_gone"]) {
      const labels = `protocol="otlp_grpc",reason="${reason}"`;
      expect(await receiver.metric("spoor_receivers_refused_requests_total", labels)).toBe(1);
    }
  });

  test("one that sends its body too slowly is cut off", async () => {
    await using receiver = await startReceiver({ requestTimeoutMs: 100 });
    const session = connect(`http://127.0.0.1:${receiver.grpcPort}`);
    const stream = session.request({
      ":method": "POST",
      ":path": exportPath,
      "content-type": "application/grpc",
    });
    stream.write(Buffer.from([0, 0]));
    const headers = await new Promise<IncomingHttpHeaders>((resolve) => {
      stream.on("response", resolve);
    });
    expect(headers["grpc-status"]).toBe("4");
    session.destroy();
    await eventually(
      async () => (await receiver.metric("spoor_receivers_in_flight_requests")) === 0,
    );
  });

  test("streams that only sent their headers keep nobody out", async () => {
    await using receiver = await startReceiver({ requestsMax: 2, connectionRequestsMax: 8 });
    const session = connect(`http://127.0.0.1:${receiver.grpcPort}`);
    const opened = Array.from({ length: 8 }, () => {
      const stream = session.request({
        ":method": "POST",
        ":path": exportPath,
        "content-type": "application/grpc",
      });
      stream.on("error", () => undefined);
      return stream;
    });
    // A frame's head on the last of them has come: so have the headers of all.
    opened[7].write(Buffer.from([0, 0, 0, 0, 9]));
    const inFlight = (): Promise<number> => receiver.metric("spoor_receivers_in_flight_requests");
    await eventually(async () => (await inFlight()) === 1);
    const client = openClient(receiver.grpcPort);
    expect(await callGrpc(client)).toHaveLength(0);
    client.close();
    session.destroy();
    await eventually(async () => (await inFlight()) === 0);
  });

  test("requests beyond the limit are refused with a retry delay", async () => {
    await using receiver = await startReceiver({ requestsMax: 1 });
    let release: (() => void) | undefined;
    receiver.sink.answer = () =>
      new Promise((resolve) => {
        release = () => resolve({ acceptedSpans: 3, rejectedSpans: 0, rejectedMessage: "" });
      });
    const client = openClient(receiver.grpcPort);
    const first = callGrpc(client);
    await receiver.sink.received(1);
    const error = await callGrpc(client).catch((thrown: unknown) => thrown as ServiceError);
    expect(error).toMatchObject({ code: 8 });
    const [details] = (error as ServiceError).metadata.get("grpc-status-details-bin") as Buffer[];
    expect(details.includes("RetryInfo")).toBe(true);
    release!();
    expect(await first).toHaveLength(0);
    client.close();
  });

  test("bytes that are not HTTP/2 close the connection and are counted", async () => {
    await using receiver = await startReceiver();
    const socket = connectTcp(receiver.grpcPort, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await new Promise((resolve) => {
      socket.on("close", resolve);
    });
    const labels = 'protocol="otlp_grpc",reason="invalid_http2"';
    expect(await receiver.metric("spoor_receivers_refused_requests_total", labels)).toBe(1);
    const client = openClient(receiver.grpcPort);
    expect(await callGrpc(client)).toHaveLength(0);
    client.close();
  });
});

describe("stop", () => {
  test("waits for what is in flight", async () => {
    const receiver = await startReceiver();
    let release: (() => void) | undefined;
    receiver.sink.answer = () =>
      new Promise((resolve) => {
        release = () => resolve({ acceptedSpans: 3, rejectedSpans: 0, rejectedMessage: "" });
      });
    const client = openClient(receiver.grpcPort);
    const sent = callGrpc(client);
    await receiver.sink.received(1);
    const stopped = receiver.receiver.stop(60_000);
    release!();
    expect(await sent).toHaveLength(0);
    await stopped;
    client.close();
  });

  test("closes calls that are not answered by the deadline", async () => {
    const receiver = await startReceiver();
    receiver.sink.answer = () => new Promise(() => undefined);
    const client = openClient(receiver.grpcPort);
    const sent = expect(callGrpc(client)).rejects.toMatchObject({ code: 14 });
    await receiver.sink.received(1);
    await receiver.receiver.stop(10);
    await sent;
    client.close();
  });
});
