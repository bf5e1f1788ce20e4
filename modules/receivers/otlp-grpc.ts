// HOT: runs per request; measured by `npm run bench` (receive).
/**
 * OTLP/gRPC on node:http2: `TraceService/Export` and the health check, unary calls only.
 *
 * Flow-control windows are megabytes (the default 64 KiB costs a round trip per two frames). What
 * a client may then send unread is bounded by InFlight, not by the window.
 */
import {
  constants,
  createServer,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Reason } from "#pkg/errors/reasons.ts";
import { WireReader } from "#pkg/bytes/wire.ts";
import { type Status, statusOf } from "#pkg/grpc/status.ts";
import { listenOn } from "#pkg/listen/listen.ts";
import { encodeResponse } from "./answers.ts";
import {
  frameMessage,
  type GrpcMessage,
  MessageReader,
  parseTimeout,
  statusTrailers,
} from "./grpc-frame.ts";
import { Admission, type Connection, type Lease } from "#pkg/listen/in-flight.ts";
import { encodingNames, parseEncoding } from "#pkg/listen/inflate.ts";
import { ingest, logUnanswered, type ReceiverParts, refuse, refuseMalformed } from "./ingest.ts";
import type { ProtocolMetrics } from "./metrics.ts";

const protocol = "otlp_grpc";
const traceService = "opentelemetry.proto.collector.trace.v1.TraceService";
const exportPath = `/${traceService}/Export`;
const healthPath = "/grpc.health.v1.Health/Check";

const streamWindowBytes = 4 * 1024 * 1024;
const sessionWindowBytes = 16 * 1024 * 1024;
/** Frames up to this size: fewer events per body than with the default 16 KiB. */
const frameBytesMax = 256 * 1024;
/** A health request has one short string. */
const healthBytesMax = 4096;
/** Longest that setTimeout can wait. */
const timerMsMax = 2 ** 31 - 1;

const statusUnimplemented = 12;
const healthServing = 1;
const healthNotServing = 2;

/** One call, from its headers to its trailers. */
interface Call {
  stream: ServerHttp2Stream;
  headers: IncomingHttpHeaders;
  /** All values of X-Scope-OrgID. */
  tenants: string[];
  /** Address of the client. */
  peer: string;
  startedMs: number;
  abort: AbortController;
}

export class OtlpGrpcServer {
  #parts: ReceiverParts;
  #metrics: ProtocolMetrics;
  #server: Http2Server;
  #connections: Map<Http2Session, Connection> = new Map();
  #isStopping = false;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#metrics = parts.metrics.forProtocol(protocol);
    this.#server = createServer({
      maxSessionMemory: 64,
      settings: {
        initialWindowSize: streamWindowBytes,
        maxConcurrentStreams: parts.config.connectionRequestsMax,
        maxFrameSize: frameBytesMax,
        enablePush: false,
      },
    });
    this.#server.maxConnections = parts.config.connectionsMax;
    this.#server.on("session", (session) => this.#openSession(session));
    this.#server.on("sessionError", (error, session) => {
      const reason = "invalid_http2";
      this.#refuseMalformed(peerOf(session), reason, `malformed HTTP/2: ${error.message}`);
    });
    this.#server.on("stream", (stream, headers, _flags, rawHeaders) => {
      // A reset stream closes after its error; the call sees the close.
      stream.on("error", () => undefined);
      const abort = new AbortController();
      const tenants = tenantValues(rawHeaders as unknown as string[]);
      const peer = peerOf(stream.session);
      const call = { stream, headers, tenants, peer, startedMs: performance.now(), abort };
      this.#handle(call).catch((error: unknown) => {
        logUnanswered(parts.log, protocol, error);
        stream.destroy();
      });
    });
  }

  /** Listens; resolves with the port. */
  async start(): Promise<number> {
    const { host, grpcPort: port } = this.#parts.config;
    return await listenOn(this.#server, { host, port });
  }

  /** Accepts no more calls (GOAWAY); resolves when the last one is answered. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const session of this.#connections.keys()) session.close();
    await closed;
  }

  /** Closes connections without an answer. */
  kill(): void {
    for (const session of this.#connections.keys()) session.destroy();
  }

  #openSession(session: Http2Session): void {
    this.#connections.set(session, { requests: 0 });
    session.once("close", () => this.#connections.delete(session));
    session.setLocalWindowSize(sessionWindowBytes);
    session.setTimeout(this.#parts.config.idleTimeoutMs, () => session.close());
  }

  #refuseMalformed(peer: string, reason: string, message: string): void {
    refuseMalformed(this.#parts, this.#metrics, { protocol, peer, reason, message });
  }

  async #handle(call: Call): Promise<void> {
    const { stream, headers, peer } = call;
    const isPost = headers[":method"] === "POST";
    if (!isPost || !isGrpc(headers["content-type"])) {
      const reason = isPost ? "content_type" : "method_not_allowed";
      const got = `${headers[":method"]} with content type ${headers["content-type"] ?? "none"}`;
      this.#refuseMalformed(peer, reason, `expected POST of application/grpc, got ${got}`);
      stream.respond({ ":status": isPost ? 415 : 405 }, { endStream: true });
      stream.close(constants.NGHTTP2_NO_ERROR);
      return;
    }
    const path = headers[":path"];
    if (path === exportPath) await this.#export(call);
    else if (path === healthPath) await this.#health(call);
    else {
      const message = `unknown method ${path}`;
      this.#refuseMalformed(peer, "unimplemented", message);
      answerStatus(stream, { code: statusUnimplemented, message });
    }
  }

  async #export(call: Call): Promise<void> {
    const { stream, peer, startedMs, abort } = call;
    const { signal } = abort;
    const encoding = parseEncoding(call.headers["grpc-encoding"] as string | undefined);
    if (encoding === undefined) {
      const got = String(call.headers["grpc-encoding"]);
      const message = `unknown grpc-encoding ${got}: set \`compression: gzip\` in the exporter`;
      this.#refuseMalformed(peer, "content_encoding", message);
      const known = { "grpc-accept-encoding": encodingNames.join(",") };
      answerStatus(stream, { code: statusUnimplemented, message }, known);
      return;
    }
    const metrics = this.#metrics;
    try {
      const tenant = this.#parts.access.tenantOf(call);
      const result = await this.#withLease(
        call,
        this.#parts.config.bodyBytesMax,
        (message, lease) => {
          if (message.isCompressed && encoding === "identity") {
            throw new SpoorError("InvalidInput", "compressed message without grpc-encoding", {
              reason: "grpc_flag",
            });
          }
          const { bytes: body, isCompressed } = message;
          const input = { body, tenant, protocol, peer, metrics, lease, signal };
          const used = isCompressed ? encoding : "identity";
          return ingest(this.#parts, { ...input, encoding: used, format: "protobuf" });
        },
      );
      metrics.stored(result, (performance.now() - startedMs) / 1000);
      answerMessage(stream, encodeResponse(result, "protobuf") as Uint8Array);
    } catch (thrown) {
      const error = refuse(this.#parts, thrown, { metrics, protocol, peer, signal, startedMs });
      answerStatus(stream, statusOf(error));
    }
  }

  async #health(call: Call): Promise<void> {
    const { stream, peer, startedMs, abort } = call;
    try {
      const service = await this.#withLease(call, healthBytesMax, ({ bytes }) =>
        Promise.resolve(readHealthService(bytes)),
      );
      if (service !== "" && service !== traceService) {
        answerStatus(stream, { code: 5, message: `unknown service ${service}` });
        return;
      }
      const status = this.#isStopping ? healthNotServing : healthServing;
      answerMessage(stream, Uint8Array.from([0x08, status]));
    } catch (thrown) {
      const context = { metrics: this.#metrics, protocol, peer, signal: abort.signal, startedMs };
      answerStatus(stream, statusOf(refuse(this.#parts, thrown, context)));
    }
  }

  /**
   * Reads the call's message within its time and runs `work` on it. Rejects at the client's
   * deadline or when it goes away; the lease is held until `work` itself has ended.
   */
  async #withLease<T>(
    call: Call,
    bytesMax: number,
    work: (message: GrpcMessage, lease: Lease) => Promise<T>,
  ): Promise<T> {
    const { stream, headers, abort } = call;
    const { signal } = abort;
    const timeoutMs = parseTimeout(headers["grpc-timeout"] as string | undefined);
    const { session } = stream;
    const connection = session === undefined ? undefined : this.#connections.get(session);
    const admission = new Admission(this.#parts.inFlight, connection);
    const { requestTimeoutMs } = this.#parts.config;
    const deadline = abortAfter(abort, timeoutMs, "deadline passed", "deadline");
    const slow = abortAfter(abort, requestTimeoutMs, "request not sent in time", "request_timeout");
    // A reset stream emits "aborted", then "end" as if its body were complete, then "close".
    const onGone = (): void => {
      if (!stream.writableFinished) abort.abort(clientGone());
    };
    stream.once("aborted", onGone);
    stream.once("close", onGone);
    const run = async (): Promise<T> => {
      try {
        const message = await readMessage(stream, new MessageReader(bytesMax, admission), signal);
        clearTimeout(slow);
        return await work(message, admission.lease());
      } finally {
        admission.release();
      }
    };
    try {
      return await orAborted(run(), signal);
    } finally {
      clearTimeout(slow);
      clearTimeout(deadline);
    }
  }
}

/** Address of a client, for people. */
function peerOf(session: Http2Session | undefined): string {
  if (session === undefined || session.destroyed) return "";
  const { remoteAddress, remotePort } = session.socket;
  return remoteAddress === undefined ? "" : `${remoteAddress}:${remotePort}`;
}

function clientGone(): SpoorError {
  return new SpoorError("Canceled", "client went away", { reason: "client_gone" });
}

function abortAfter(
  abort: AbortController,
  timeoutMs: number,
  what: string,
  reason: Reason,
): NodeJS.Timeout | undefined {
  if (timeoutMs > timerMsMax) return undefined;
  return setTimeout(() => abort.abort(new SpoorError("Timeout", what, { reason })), timeoutMs);
}

/** The result of `running`, or the reason of the abort if that comes first. */
async function orAborted<T>(running: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([running, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort!);
  }
}

async function readMessage(
  stream: ServerHttp2Stream,
  reader: MessageReader,
  signal: AbortSignal,
): Promise<GrpcMessage> {
  await new Promise<void>((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      try {
        reader.push(chunk);
      } catch (error) {
        stream.off("data", onData);
        stream.resume();
        reject(error as Error);
      }
    };
    stream.on("data", onData);
    stream.once("end", resolve);
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
  if (signal.aborted) throw signal.reason as Error;
  return reader.finish();
}

/** HealthCheckRequest { 1 string service }. */
function readHealthService(bytes: Uint8Array): string {
  const reader = new WireReader(bytes);
  let service = "";
  while (reader.pos < reader.end) {
    const tag = reader.tag();
    if (tag === 0x0a) {
      const end = reader.lengthEnd();
      service = Buffer.from(bytes.subarray(reader.pos, end)).toString("utf8");
      reader.pos = end;
    } else reader.skip(tag);
  }
  return service;
}

function isGrpc(contentType: string | undefined): boolean {
  const [type] = (contentType ?? "").toLowerCase().split(";", 1);
  return type.trim() === "application/grpc" || type.trim() === "application/grpc+proto";
}

/** All values of x-scope-orgid: node:http2 joins duplicates with ", ". */
function tenantValues(rawHeaders: string[]): string[] {
  const values: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i] === "x-scope-orgid") values.push(rawHeaders[i + 1]);
  }
  return values;
}

function answerMessage(stream: ServerHttp2Stream, message: Uint8Array): void {
  if (stream.closed || stream.destroyed) return;
  stream.respond(
    { ":status": 200, "content-type": "application/grpc+proto" },
    { waitForTrailers: true },
  );
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(frameMessage(message));
}

/** A "trailers-only" answer. If the client is still sending, it is told to stop. */
function answerStatus(
  stream: ServerHttp2Stream,
  status: Status,
  headers: Record<string, string> = {},
): void {
  if (stream.closed || stream.destroyed) return;
  const head = { ":status": 200, "content-type": "application/grpc+proto" };
  stream.respond({ ...head, ...headers, ...statusTrailers(status) }, { endStream: true });
  if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
}
