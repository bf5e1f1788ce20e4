/** Test support: a server with given methods, and clients that send given bytes unchanged. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
} from "node:http2";
import { type SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import { InFlight } from "#pkg/listen/in-flight.ts";
import { type Refused, stopAll } from "#pkg/listen/addresses.ts";
import { Turns } from "#pkg/listen/turns.ts";
import { Access } from "#pkg/tenant/access.ts";
import type { GrpcMethod, StreamingMethod, UnaryMethod } from "./methods.ts";
import { GrpcServer, type GrpcServerOptions } from "./server.ts";

const mebibyte = 1024 * 1024;

export interface TestGrpc extends AsyncDisposable {
  server: GrpcServer;
  port: number;
  session: ClientHttp2Session;
  inFlight: InFlight;
  /** Requests that were not a call of a method. */
  refused: Refused[];
  /** Errors of calls. */
  failed: SpoorError[];
}

/** Serves methods on a free port. */
export async function serveMethods(
  methods: readonly GrpcMethod[],
  options: Partial<GrpcServerOptions> = {},
): Promise<TestGrpc> {
  const inFlight = new InFlight(100, 8 * mebibyte);
  const refused: Refused[] = [];
  const failed: SpoorError[] = [];
  const server = new GrpcServer({
    address: { host: "127.0.0.1", port: 0 },
    methods,
    connectionsMax: 100,
    connectionRequestsMax: 100,
    requestTimeoutMs: 30_000,
    idleTimeoutMs: 30_000,
    access: new Access(true, "s3cret"),
    inFlight,
    turns: new Turns(2),
    noteRefused: (one) => refused.push(one),
    refuse: (thrown, { signal }) => {
      failed.push(toSpoorError(signal.aborted ? signal.reason : thrown));
      return failed.at(-1)!;
    },
    noteUnanswered: (thrown) => failed.push(toSpoorError(thrown)),
    ...options,
  });
  const port = await server.start();
  const session = connect(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  return {
    server,
    port,
    session,
    inFlight,
    refused,
    failed,
    async [Symbol.asyncDispose]() {
      session.destroy();
      await stopAll([server], 0);
    },
  };
}

const facts = { service: "test.Test", right: "open", request: "bytes", answer: "bytes" } as const;

export function unary(
  method: string,
  handle: UnaryMethod["handle"],
  more: Partial<UnaryMethod> = {},
): UnaryMethod {
  return { ...facts, kind: "unary", method, requestBytesMax: mebibyte, handle, ...more };
}

export function streaming(method: string, handle: StreamingMethod["handle"]): StreamingMethod {
  return { ...facts, kind: "server_streaming", method, requestBytesMax: mebibyte, handle };
}

export interface GotAnswer {
  /** Headers and trailers. */
  headers: IncomingHttpHeaders;
  /** Whether the status came with the first headers. */
  isTrailersOnly: boolean;
  body: Buffer;
}

export function openStream(
  session: ClientHttp2Session,
  path: string,
  headers: Record<string, string | undefined> = {},
): ClientHttp2Stream {
  const base = { ":method": "POST", "content-type": "application/grpc", te: "trailers" };
  return session.request({ ...base, ":path": path, ...headers });
}

/** Sends bytes unchanged. Resolves when the stream has ended. */
export function sendBytes(stream: ClientHttp2Stream, bytes: Uint8Array): Promise<GotAnswer> {
  return new Promise((resolve, reject) => {
    const answer: GotAnswer = { headers: {}, isTrailersOnly: false, body: Buffer.alloc(0) };
    stream.on("response", (found) => {
      answer.headers = found;
      answer.isTrailersOnly = found["grpc-status"] !== undefined;
    });
    stream.on("trailers", (found) => (answer.headers = { ...answer.headers, ...found }));
    stream.on("data", (chunk: Buffer) => (answer.body = Buffer.concat([answer.body, chunk])));
    stream.on("error", reject);
    stream.on("close", () => resolve(answer));
    stream.end(bytes);
  });
}

/** Returns the messages in the frames of a body. */
export function messagesIn(body: Buffer): string[] {
  const messages: string[] = [];
  for (let pos = 0; pos < body.length;) {
    const end = pos + 5 + body.readUInt32BE(pos + 1);
    messages.push(body.toString("utf8", pos + 5, end));
    pos = end;
  }
  return messages;
}
