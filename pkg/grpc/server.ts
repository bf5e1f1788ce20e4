// HOT: runs per request; measured by `npm run bench` (receive).
/**
 * A gRPC server on node:http2. It serves the methods of its table, unary or server-streaming, and
 * checks their rights. `refuse` maps all errors of calls.
 *
 * Flow-control windows are megabytes (the default 64 KiB costs a round trip per two frames). So
 * InFlight, not the window, bounds the bytes that are received but not processed.
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
import {
  Admission,
  boundConnections,
  type Connection,
  type Encoding,
  encodingNames,
  inflate,
  type InFlight,
  type Lease,
  type Listener,
  listenOn,
  parseEncoding,
  peerOf,
  type ListenAddress,
  type Refused,
  type Turns,
} from "#pkg/listen/listen.ts";
import type { Access, Viewer } from "#pkg/tenant/tenant.ts";
import { abortAfter, orAborted } from "./aborts.ts";
import { answerMessage, answerStatus, answerStream } from "./answer.ts";
import { type Frame, MessageReader } from "./frame.ts";
import { isGrpc, parseTimeout } from "./metadata.ts";
import type { GrpcMethod, StreamingMethod, UnaryMethod } from "./methods.ts";
import { grpcStatus, statusOf } from "./status.ts";

export interface GrpcServerOptions {
  address: ListenAddress;
  methods: readonly GrpcMethod[];
  connectionsMax: number;
  /** Concurrent calls of one connection; clients hold back further ones. */
  connectionRequestsMax: number;
  /** Time for a client to send its whole message. */
  requestTimeoutMs: number;
  idleTimeoutMs: number;
  access: Access;
  inFlight: InFlight;
  /** Bounds the messages that are inflated in the thread pool at the same time. */
  turns: Turns;
  /** Counts and lists requests that are not a call of one of the methods. */
  noteRefused: (refused: Refused) => void;
  /** Returns the error for the client; counts and logs it. */
  refuse: (thrown: unknown, call: FailedCall) => SpoorError;
  /** Called if a call could not be answered; its stream is closed. */
  noteUnanswered: (thrown: unknown) => void;
}

/** A call that failed. */
export interface FailedCall {
  peer: string;
  signal: AbortSignal;
  /** Start time by `performance.now()`. */
  startedMs: number;
}

/** One call, from its headers to its trailers. */
interface Call extends FailedCall {
  stream: ServerHttp2Stream;
  headers: IncomingHttpHeaders;
  /** All values of X-Scope-OrgID. */
  tenants: string[];
  abort: AbortController;
}

const streamWindowBytes = 4 * 1024 * 1024;
const sessionWindowBytes = 16 * 1024 * 1024;
/** Largest HTTP/2 frame: fewer events per body than with the default 16 KiB. */
const frameBytesMax = 256 * 1024;

export class GrpcServer implements Listener {
  readonly #options: GrpcServerOptions;
  readonly #methods: ReadonlyMap<string, GrpcMethod>;
  readonly #server: Http2Server;
  readonly #connections = new Map<Http2Session, Connection>();

  constructor(options: GrpcServerOptions) {
    const { methods, noteRefused } = options;
    this.#options = options;
    this.#methods = new Map(methods.map((one) => [`/${one.service}/${one.method}`, one]));
    this.#server = createServer({
      maxSessionMemory: 64,
      settings: {
        initialWindowSize: streamWindowBytes,
        maxConcurrentStreams: options.connectionRequestsMax,
        maxFrameSize: frameBytesMax,
        enablePush: false,
      },
    });
    boundConnections(this.#server, options.connectionsMax, noteRefused);
    this.#server.on("session", (session) => this.#openSession(session));
    this.#server.on("sessionError", (error, session) => {
      const message = `malformed HTTP/2: ${error.message}`;
      noteRefused({ reason: "invalid_http2", message, peer: peerOfSession(session) });
    });
    this.#server.on("stream", (stream, headers, _flags, rawHeaders) => {
      this.#answer(openCall(stream, headers, rawHeaders as unknown as string[]));
    });
  }

  /** Listens; resolves with the port. Throws Unavailable (`listen`). */
  start(): Promise<number> {
    return listenOn(this.#server, this.#options.address);
  }

  /** Accepts no more calls (GOAWAY); resolves when those in flight are answered. */
  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const session of this.#connections.keys()) session.close();
    await promise;
  }

  kill(): void {
    for (const session of this.#connections.keys()) session.destroy();
  }

  #openSession(session: Http2Session): void {
    this.#connections.set(session, { requests: 0 });
    session.once("close", () => this.#connections.delete(session));
    session.setLocalWindowSize(sessionWindowBytes);
    session.setTimeout(this.#options.idleTimeoutMs, () => session.close());
  }

  /** Answers a call; never throws. */
  #answer(call: Call): void {
    const { stream } = call;
    // A reset stream closes after its error; the call handles the close.
    stream.on("error", () => undefined);
    this.#route(call).catch((error: unknown) => {
      this.#options.noteUnanswered(error);
      stream.destroy();
    });
  }

  async #route(call: Call): Promise<void> {
    const { stream, headers, peer } = call;
    const { noteRefused } = this.#options;
    const isPost = headers[":method"] === "POST";
    if (!isPost || !isGrpc(headers["content-type"])) {
      const reason = isPost ? "content_type" : "method_not_allowed";
      const got = `${headers[":method"]} with content type ${headers["content-type"] ?? "none"}`;
      noteRefused({ peer, reason, message: `expected POST of application/grpc, got ${got}` });
      stream.respond({ ":status": isPost ? 415 : 405 }, { endStream: true });
      stream.close(constants.NGHTTP2_NO_ERROR);
      return;
    }
    const path = headers[":path"] ?? "";
    const method = this.#methods.get(path);
    if (method === undefined) {
      const message = `unknown method ${path}`;
      noteRefused({ peer, reason: "unimplemented", message });
      answerStatus(stream, { code: grpcStatus.unimplemented, message });
      return;
    }
    const encoding = parseEncoding(headers["grpc-encoding"] as string | undefined);
    if (encoding === undefined) {
      const got = String(headers["grpc-encoding"]);
      const message = `unknown grpc-encoding ${got}: set \`compression: gzip\` in the exporter`;
      noteRefused({ peer, reason: "content_encoding", message });
      const known = { "grpc-accept-encoding": encodingNames.join(",") };
      answerStatus(stream, { code: grpcStatus.unimplemented, message }, known);
      return;
    }
    await this.#serve(call, method, encoding);
  }

  async #serve(call: Call, method: GrpcMethod, encoding: Encoding): Promise<void> {
    const { stream, headers, abort, signal, tenants } = call;
    const { authorization } = headers;
    const refuse = (thrown: unknown): SpoorError => this.#options.refuse(thrown, call);
    let deadline: NodeJS.Timeout | undefined;
    try {
      const viewer = this.#options.access.check(method.right, { authorization, tenants });
      const timeoutMs = parseTimeout(headers["grpc-timeout"] as string | undefined);
      deadline = abortAfter(abort, timeoutMs, "deadline passed", "deadline");
      abortWhenGone(call);
      if (method.kind === "unary") {
        const answer = this.#unary(call, method, { encoding, viewer });
        answerMessage(stream, await orAborted(answer, signal));
      } else {
        const request = this.#request(call, method, encoding);
        const { peer, startedMs } = call;
        const facts = { viewer, peer, startedMs, signal };
        const answers = method.handle(await orAborted(request, signal), facts);
        await answerStream(stream, answers, { signal, refuse });
      }
    } catch (thrown) {
      answerStatus(stream, statusOf(refuse(thrown)));
    } finally {
      clearTimeout(deadline);
    }
  }

  #unary(
    call: Call,
    method: UnaryMethod,
    { encoding, viewer }: { encoding: Encoding; viewer: Viewer },
  ): Promise<Uint8Array> {
    const { requestBytesMax: bytesMax } = method;
    const { peer, startedMs, signal } = call;
    return this.#withMessage(call, bytesMax, async (frame, lease) => {
      const message = messageOf(frame, encoding);
      const inflated = (): Promise<Uint8Array> => this.#inflate(message, bytesMax, lease);
      return await method.handle({ viewer, peer, startedMs, signal, message, lease, inflated });
    });
  }

  /** Reads the request of a streaming call. Its lease ends before the response. */
  #request(
    call: Call,
    { requestBytesMax }: StreamingMethod,
    encoding: Encoding,
  ): Promise<Uint8Array> {
    return this.#withMessage(call, requestBytesMax, (frame, lease) =>
      this.#inflate(messageOf(frame, encoding), requestBytesMax, lease),
    );
  }

  #inflate(
    { bytes, encoding }: { bytes: Uint8Array; encoding: Encoding },
    bytesMax: number,
    lease: Lease,
  ): Promise<Uint8Array> {
    return inflate(bytes, { encoding, bytesMax, lease, turns: this.#options.turns });
  }

  /**
   * Reads the call's message within `requestTimeoutMs` and runs `work` on it. The lease is held
   * until `work` ends, even if the call is aborted earlier.
   */
  async #withMessage<T>(
    { stream, abort }: Call,
    bytesMax: number,
    work: (frame: Frame, lease: Lease) => Promise<T>,
  ): Promise<T> {
    const { session } = stream;
    const connection = session === undefined ? undefined : this.#connections.get(session);
    const admission = new Admission(this.#options.inFlight, connection);
    const { requestTimeoutMs } = this.#options;
    const slow = abortAfter(abort, requestTimeoutMs, "request not sent in time", "request_timeout");
    try {
      const frame = await readFrame(stream, new MessageReader(bytesMax, admission), abort.signal);
      clearTimeout(slow);
      return await work(frame, admission.lease());
    } finally {
      clearTimeout(slow);
      admission.release();
    }
  }
}

function openCall(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
): Call {
  const abort = new AbortController();
  return {
    stream,
    headers,
    tenants: headers["x-scope-orgid"] === undefined ? [] : tenantValues(rawHeaders),
    peer: peerOfSession(stream.session),
    startedMs: performance.now(),
    abort,
    signal: abort.signal,
  };
}

/** Returns all values of x-scope-orgid: node:http2 joins duplicates with ", ". */
function tenantValues(rawHeaders: readonly string[]): string[] {
  const values: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i] === "x-scope-orgid") values.push(rawHeaders[i + 1]);
  }
  return values;
}

function peerOfSession(session: Http2Session | undefined): string {
  return session === undefined || session.destroyed ? "" : peerOf(session.socket);
}

/**
 * Aborts the call when the client disconnects. A reset stream emits "aborted", then "end" as if its
 * body were complete, then "close".
 */
function abortWhenGone({ stream, abort }: Call): void {
  const onGone = (): void => {
    if (stream.writableFinished) return;
    abort.abort(new SpoorError("Canceled", "client went away", { reason: "client_gone" }));
  };
  stream.once("aborted", onGone);
  stream.once("close", onGone);
}

function messageOf(
  { bytes, isCompressed }: Frame,
  encoding: Encoding,
): { bytes: Uint8Array; encoding: Encoding } {
  if (!isCompressed) return { bytes, encoding: "identity" };
  if (encoding !== "identity") return { bytes, encoding };
  throw new SpoorError("InvalidInput", "compressed message without grpc-encoding", {
    reason: "grpc_flag",
  });
}

async function readFrame(
  stream: ServerHttp2Stream,
  reader: MessageReader,
  signal: AbortSignal,
): Promise<Frame> {
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
