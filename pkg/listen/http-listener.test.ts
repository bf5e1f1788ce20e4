import { Agent, request, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { HttpListener, type HttpListenerOptions } from "./http-listener.ts";
import { listenOn, type Refused, startAll, stopAll } from "./addresses.ts";

interface Running {
  listener: HttpListener;
  port: number;
  refused: Refused[];
  unanswered: unknown[];
}

async function listen(options: Partial<HttpListenerOptions> = {}): Promise<Running> {
  const refused: Refused[] = [];
  const unanswered: unknown[] = [];
  const listener = new HttpListener({
    address: { host: "127.0.0.1", port: 0 },
    connectionsMax: 10,
    headersTimeoutMs: 5000,
    requestTimeoutMs: 5000,
    idleTimeoutMs: 60_000,
    handle: (_, res) => void res.end("here"),
    noteRefused: (one) => refused.push(one),
    noteUnanswered: (thrown) => unanswered.push(thrown),
    answerUnreadable: ({ httpStatus, reason }, req) => ({
      httpStatus,
      contentType: "text/plain",
      body: `${reason} ${req?.url ?? "no request"}`,
    }),
    ...options,
  });
  const port = await listener.start();
  onTestFinished(async () => void (await stopAll([listener], 0)));
  return { listener, port, refused, unanswered };
}

/** A connection that keeps what it gets. */
class Client {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  got = "";

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("data", (chunk: Buffer) => (this.got += chunk.toString("latin1")));
    this.socket.on("error", () => undefined);
    this.closed = new Promise((resolve) => {
      this.socket.on("close", () => resolve());
    });
  }

  async until(part: string): Promise<void> {
    while (!this.got.includes(part)) {
      await new Promise((resolve) => {
        this.socket.once("data", resolve);
      });
    }
  }
}

const get = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

test("unreadable bytes get a response, also after a request on the connection", async () => {
  const { port, refused } = await listen();
  const client = new Client(port);
  client.socket.write(get);
  await client.until("here");
  client.socket.write("no http\r\n\r\n");
  await client.closed;
  expect(client.got).toMatch(/here.*HTTP\/1\.1 400 Bad Request(.|\r|\n)+invalid_http no request$/);
  expect(refused).toEqual([
    { reason: "invalid_http", message: expect.any(String), peer: expect.stringMatching(/:\d+$/) },
  ]);
});

test("an answer that is on its way is not mixed with one to bad bytes", async () => {
  const { port } = await listen({ handle: (_, res) => void res.writeHead(200).write("half") });
  const client = new Client(port);
  client.socket.write(get);
  await client.until("half");
  client.socket.write("no http\r\n\r\n");
  await client.closed;
  expect(client.got).not.toContain("400");
});

test("a body that does not come is answered as one that may come again", async () => {
  const { port } = await listen({ requestTimeoutMs: 100, handle: () => undefined });
  const client = new Client(port);
  client.socket.write("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n");
  await client.closed;
  expect(client.got).toMatch(/^HTTP\/1\.1 503 (.|\r|\n)+request_timeout \/b$/);
});

test("a request that was answered before its body came gets no second answer", async () => {
  const { port } = await listen({ requestTimeoutMs: 100 });
  const client = new Client(port);
  client.socket.write("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
  await client.closed;
  expect(client.got.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200"]);
});

test("connections over the bound are closed and counted", async () => {
  const { port, refused } = await listen({ connectionsMax: 1 });
  const first = new Client(port);
  first.socket.write(get);
  await first.until("here");
  await new Client(port).closed;
  expect(refused).toMatchObject([{ reason: "connections", message: "over 1 connections" }]);
  first.socket.destroy();
});

test("headers may be as large as the port wants", async () => {
  const large = `GET /a HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(40_000)}\r\n\r\n`;
  const statuses: string[] = [];
  for (const headerBytesMax of [undefined, 64 * 1024]) {
    const client = new Client((await listen({ headerBytesMax })).port);
    client.socket.end(large);
    await client.closed;
    statuses.push(client.got.slice(9, 12));
  }
  expect(statuses).toEqual(["431", "200"]);
});

test("a handler that fails closes its connection, and the port goes on", async () => {
  let calls = 0;
  const { port, unanswered } = await listen({
    handle: async (_, res) => {
      if (calls++ === 0) throw new Error("broken");
      res.end("here");
    },
  });
  const client = new Client(port);
  client.socket.write(get);
  await client.closed;
  expect([client.got, unanswered]).toEqual(["", [new Error("broken")]]);
  const next = new Client(port);
  next.socket.write(get);
  await next.until("here");
  next.socket.destroy();
});

test("stop answers requests in flight, closes their connections, and accepts no more", async () => {
  const held = Promise.withResolvers<ServerResponse>();
  const { listener, port } = await listen({ handle: (_, res) => held.resolve(res) });
  const client = new Client(port);
  client.socket.write(get);
  const res = await held.promise;
  const idle = new Client(port);
  await new Promise((resolve) => {
    idle.socket.once("connect", resolve);
  });
  const stopped = stopAll([listener], 60_000);
  res.end("late");
  expect(await stopped).toBe(true);
  await Promise.all([idle.closed, client.closed]);
  expect(client.got).toMatch(/Connection: close\r\n(.|\r|\n)*late/);
  const error = await startAndFail(port);
  expect(error).toMatchObject({ code: "ECONNREFUSED" });
});

function startAndFail(port: number): Promise<unknown> {
  return new Promise((resolve) => {
    connect(port, "127.0.0.1").once("error", resolve);
  });
}

test("connections that are not answered by the deadline are closed", async () => {
  const held = Promise.withResolvers<void>();
  const { listener, port } = await listen({ handle: () => held.resolve() });
  const client = new Client(port);
  client.socket.write(get);
  await held.promise;
  expect(await stopAll([listener], 0)).toBe(false);
  await client.closed;
  expect(client.got).toBe("");
});

test("pages of other origins are answered where they may ask", async () => {
  const { port } = await listen({ corsAllowedOrigins: ["https://app.example.com"] });
  const agent = new Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const allowed = (origin: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const options = { host: "127.0.0.1", port, agent, headers: { origin } };
      const req = request(options, (res) => {
        res.resume();
        res.on("end", () => resolve(res.headers["access-control-allow-origin"]));
      });
      req.on("error", reject);
      req.end();
    });
  expect(await allowed("https://app.example.com")).toBe("https://app.example.com");
  expect(await allowed("https://other.example.com")).toBeUndefined();
});

test("listeners start all or none, and the error names the place", async () => {
  const taken = await listen();
  const placeOf = (port: number): HttpListener =>
    new HttpListener({
      address: { host: "127.0.0.1", port },
      connectionsMax: 1,
      headersTimeoutMs: 1000,
      requestTimeoutMs: 1000,
      idleTimeoutMs: 1000,
      handle: () => undefined,
      noteRefused: () => undefined,
      noteUnanswered: () => undefined,
      answerUnreadable: () => ({ httpStatus: 400, contentType: "text/plain", body: "" }),
    });
  const started: number[] = [];
  const first = placeOf(0);
  const watched = {
    start: async () => {
      started.push(await first.start());
      return started[0];
    },
    stop: () => first.stop(),
    kill: () => first.kill(),
  };
  await expect(startAll([watched, placeOf(taken.port)])).rejects.toMatchObject({
    code: "Unavailable",
    reason: "listen",
    message: expect.stringContaining(`listen on 127.0.0.1:${taken.port}: `),
    cause: { code: "EADDRINUSE" },
  });
  expect(await startAndFail(started[0])).toMatchObject({ code: "ECONNREFUSED" });
});

test("a server that listens has its port's number", async () => {
  const { createServer } = await import("node:net");
  const server = createServer();
  const port = await listenOn(server, { host: "127.0.0.1", port: 0 });
  expect(port).toBeGreaterThan(0);
  server.close();
});
