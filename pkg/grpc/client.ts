/** A gRPC client for unary calls on one HTTP/2 connection, which is reopened when it ends. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from "node:http2";
import { SpoorError } from "#pkg/errors/errors.ts";
import { frameMessage, MessageReader, type ByteBudget } from "./frame.ts";
import { formatTimeout, isGrpc, readTrailers } from "./metadata.ts";
import { grpcStatus, type Status } from "./status.ts";

export interface GrpcAnswer {
  /** Code 0: success. */
  status: Status;
  /** Empty unless the code is 0. */
  message: Uint8Array;
}

export interface GrpcClientOptions {
  /** E.g. `http://127.0.0.1:4317`. */
  origin: string;
  /** Metadata of every call. */
  metadata?: Readonly<Record<string, string>>;
  /** Longest time of a call, milliseconds. */
  timeoutMs: number;
  /** Largest response; a larger one is an error. */
  answerBytesMax: number;
}

const windowBytes = 1024 * 1024;
/** A budget without a limit: `answerBytesMax` bounds a response. */
const noBudget: ByteBudget = { lease: () => ({ resize: () => undefined }) };

export class GrpcClient {
  readonly #options: GrpcClientOptions;
  #session: ClientHttp2Session | undefined;

  /** The first call connects. */
  constructor(options: GrpcClientOptions) {
    this.#options = options;
  }

  close(): void {
    this.#session?.close();
  }

  /**
   * Makes one call. Resolves with any gRPC status. Rejects if there was no response (connection
   * error, Timeout) or if it is not gRPC (Unavailable).
   */
  async call(path: string, message: Uint8Array): Promise<GrpcAnswer> {
    const { metadata, timeoutMs, answerBytesMax } = this.#options;
    const stream = this.#open().request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-timeout": formatTimeout(timeoutMs),
      ...metadata,
    });
    const reader = new MessageReader(answerBytesMax, noBudget);
    const headers = await exchange(stream, frameMessage(message), { timeoutMs, reader });
    const status = readTrailers(headers);
    if (status === undefined) throw noStatus(headers);
    if (status.code !== grpcStatus.ok) return { status, message: new Uint8Array() };
    const { bytes, isCompressed } = reader.finish();
    if (isCompressed)
      throw new SpoorError("Unavailable", "the response is compressed, which was not requested");
    return { status, message: bytes };
  }

  #open(): ClientHttp2Session {
    const known = this.#session;
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connect(this.#options.origin, { settings: { initialWindowSize: windowBytes } });
    // Each stream reports the failure to its caller.
    session.on("error", () => this.#forget(session));
    session.on("goaway", () => this.#forget(session));
    this.#session = session;
    return session;
  }

  #forget(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = undefined;
  }
}

function noStatus(headers: IncomingHttpHeaders): SpoorError {
  const got = String(headers[":status"] ?? "none");
  return new SpoorError("Unavailable", `response without grpc-status, HTTP status ${got}`);
}

/** Sends a frame. Resolves with all headers and trailers when the stream has ended. */
function exchange(
  stream: ClientHttp2Stream,
  frame: Uint8Array,
  { timeoutMs, reader }: { timeoutMs: number; reader: MessageReader },
): Promise<IncomingHttpHeaders> {
  return new Promise((resolve, reject) => {
    let headers: IncomingHttpHeaders = {};
    stream.setTimeout(timeoutMs, () => {
      stream.close(constants.NGHTTP2_CANCEL);
      reject(new SpoorError("Timeout", `no response within ${timeoutMs} ms`));
    });
    stream.on("response", (found) => {
      headers = { ...headers, ...found };
      if (isGrpc(found["content-type"])) return;
      stream.close(constants.NGHTTP2_CANCEL);
      reject(noStatus(found));
    });
    stream.on("trailers", (found) => (headers = { ...headers, ...found }));
    stream.on("data", (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        stream.close(constants.NGHTTP2_CANCEL);
        reject(error as Error);
      }
    });
    stream.once("error", reject);
    stream.once("close", () => resolve(headers));
    stream.end(frame);
  });
}
