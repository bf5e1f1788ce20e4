/** Sends OTLP/gRPC on one HTTP/2 connection, which is reopened when it ends. */
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from "node:http2";
import { SpoorError } from "#pkg/errors/errors.ts";
import { noResponse, type SendResult, type Sender, type SenderOptions } from "./sender.ts";
import { readPartialSuccess, type ReadStatus, readStatus } from "./status.ts";

const exportPath = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const timeoutMs = 60_000;
const frameHeadBytes = 5;
const answerBytesMax = 1024 * 1024;

/** https://opentelemetry.io/docs/specs/otlp/#failures; 8 only if the server sends a delay. */
const retryableStatuses = [1, 4, 10, 11, 14, 15];
const resourceExhausted = 8;

export function openGrpcSender({ endpoint, tenant }: SenderOptions): Sender {
  const sender = new GrpcSender(endpoint, tenant);
  return {
    send: async (body) => {
      try {
        return await sender.send(body);
      } catch (error) {
        return noResponse(error);
      }
    },
    close: () => sender.close(),
  };
}

class GrpcSender {
  readonly #origin: string;
  readonly #headers: Record<string, string>;
  #session: ClientHttp2Session | undefined;

  constructor(endpoint: URL, tenant: string | undefined) {
    this.#origin = endpoint.origin;
    this.#headers = {
      ":method": "POST",
      ":path": exportPath,
      "content-type": "application/grpc",
      te: "trailers",
    };
    if (tenant !== undefined) this.#headers["x-scope-orgid"] = tenant;
  }

  close(): void {
    this.#session?.close();
  }

  async send(body: Uint8Array): Promise<SendResult> {
    const frame = Buffer.allocUnsafe(frameHeadBytes + body.length);
    frame[0] = 0;
    frame.writeUInt32BE(body.length, 1);
    frame.set(body, frameHeadBytes);
    const { headers, message } = await this.#call(frame);
    const code = Number(headers["grpc-status"] ?? Number.NaN);
    if (code === 0) return { kind: "stored", ...readPartialSuccess(message) };
    if (Number.isNaN(code)) {
      const status = String(headers[":status"] ?? "none");
      throw new SpoorError("Unavailable", `response without grpc-status, HTTP status ${status}`);
    }
    const status = statusOf(headers);
    const isExhausted = code === resourceExhausted && status.retryAfterMs !== undefined;
    return {
      kind: "refused",
      reason: status.reason ?? `grpc_${code}`,
      message: status.message,
      isRetryable: isExhausted || retryableStatuses.includes(code),
      retryAfterMs: status.retryAfterMs,
    };
  }

  #open(): ClientHttp2Session {
    const known = this.#session;
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connect(this.#origin, { settings: { initialWindowSize: 1024 * 1024 } });
    // Each stream reports the failure to its own caller.
    session.on("error", () => this.#forget(session));
    session.on("goaway", () => this.#forget(session));
    this.#session = session;
    return session;
  }

  #forget(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = undefined;
  }

  #call(frame: Buffer): Promise<{ headers: IncomingHttpHeaders; message: Uint8Array }> {
    return new Promise((resolve, reject) => {
      const stream = this.#open().request(this.#headers);
      let headers: IncomingHttpHeaders = {};
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      stream.setTimeout(timeoutMs, () => {
        stream.close(constants.NGHTTP2_CANCEL);
        reject(new SpoorError("Timeout", `no response within ${timeoutMs} ms`));
      });
      stream.on("response", (found) => (headers = { ...headers, ...found }));
      stream.on("trailers", (found) => (headers = { ...headers, ...found }));
      stream.on("data", (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes <= answerBytesMax) chunks.push(chunk);
      });
      stream.once("error", reject);
      stream.once("close", () => {
        resolve({ headers, message: Buffer.concat(chunks).subarray(frameHeadBytes) });
      });
      stream.end(frame);
    });
  }
}

function statusOf(headers: IncomingHttpHeaders): ReadStatus {
  const message = percentDecode(String(headers["grpc-message"] ?? ""));
  const details = headers["grpc-status-details-bin"];
  if (typeof details !== "string") return { message };
  try {
    return { ...readStatus(Buffer.from(details, "base64")), message };
  } catch {
    // The status code is enough; unknown details are ignored.
    return { message };
  }
}

function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
