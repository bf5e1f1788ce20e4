/** Test support: clients that send given bytes unchanged. */
import { readFileSync } from "node:fs";
import { type Agent, request } from "node:http";
import type { ClientHttp2Session, IncomingHttpHeaders } from "node:http2";
import { connect, type Socket } from "node:net";
import {
  type Client,
  credentials,
  makeGenericClientConstructor,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";

/** A capture of three spans. */
export const demoTrace: Buffer = readFileSync("testdata/captures/otel-proto.01.bin");
export const exportPath = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

export interface Post {
  body?: Uint8Array;
  headers?: Record<string, string | string[]>;
  method?: string;
  path?: string;
  agent?: Agent;
}

/** Sends a request; by default a POST of protobuf to /v1/traces. */
export function sendHttp(port: number, post: Post = {}): Promise<Answer> {
  const { body = demoTrace, method = "POST", path = "/v1/traces", agent } = post;
  const headers = { "content-type": "application/x-protobuf", ...post.headers };
  return new Promise((resolve, reject) => {
    const req = request({ host: "127.0.0.1", port, method, path, headers, agent }, (res) => {
      const chunks: Buffer[] = [];
      res.on("data", (chunk: Buffer) => chunks.push(chunk));
      res.on("end", () =>
        resolve({
          status: res.statusCode!,
          headers: res.headers,
          body: Buffer.concat(chunks),
        }),
      );
    });
    req.on("error", reject);
    req.end(method === "GET" || method === "OPTIONS" ? undefined : body);
  });
}

/** Opens a TCP connection. */
export function openSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** Resolves with everything that is received until the connection closes. */
export function readAll(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text));
  });
}

/** Opens a grpc-js client that sends and receives raw bytes. */
export function openClient(port: number): Client {
  const Generic = makeGenericClientConstructor({}, "raw");
  return new Generic(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.max_send_message_length": -1,
  });
}

export interface CallOptions {
  path?: string;
  body?: Buffer;
  metadata?: Record<string, string>;
  deadline?: number;
}

/** Makes one unary call. Rejects with grpc-js's ServiceError. */
export function callGrpc(client: Client, options: CallOptions = {}): Promise<Buffer> {
  const { path = exportPath, body = demoTrace, deadline } = options;
  const metadata = Metadata.fromHttp2Headers(options.metadata ?? {});
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve, reject) => {
    const done = (error: ServiceError | null, response?: Buffer): void => {
      if (error === null) resolve(response!);
      else reject(error);
    };
    client.makeUnaryRequest(path, same, same, body, metadata, { deadline }, done);
  });
}

export interface StreamAnswer {
  headers: IncomingHttpHeaders;
  trailers: IncomingHttpHeaders;
  body: Buffer;
}

/** Sends bytes unchanged in one HTTP/2 stream. */
export function sendStream(
  session: ClientHttp2Session,
  body: Uint8Array,
  headers: Record<string, string | undefined> = {},
): Promise<StreamAnswer> {
  const base = {
    ":method": "POST",
    ":path": exportPath,
    "content-type": "application/grpc",
    te: "trailers",
  };
  return new Promise((resolve, reject) => {
    const stream = session.request({ ...base, ...headers });
    const answer: StreamAnswer = { headers: {}, trailers: {}, body: Buffer.alloc(0) };
    stream.on("response", (found) => (answer.headers = found));
    stream.on("trailers", (found) => (answer.trailers = found));
    stream.on("data", (chunk: Buffer) => (answer.body = Buffer.concat([answer.body, chunk])));
    stream.on("error", reject);
    stream.on("close", () => resolve(answer));
    stream.end(body);
  });
}
