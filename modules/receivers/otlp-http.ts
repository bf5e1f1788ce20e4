// HOT: runs per request; measured by `npm run bench` (receive).
/**
 * OTLP/HTTP on node:http: `POST /v1/traces` with protobuf or JSON, plain or compressed.
 *
 * Everything is refused as early as it can be: path, method, type and encoding before the body,
 * size while it is read or inflated. Errors are a google.rpc.Status in the request's own format.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { errorTable, SpoorError } from "#pkg/errors/errors.ts";
import { pathOfTarget } from "#pkg/listen/request-target.ts";
import { endWithAnswer, unreadableOf } from "#pkg/listen/unreadable.ts";
import { statusOf } from "#pkg/grpc/status.ts";
import { type BodyFormat, encodeError, encodeResponse } from "./answers.ts";
import { preflightHeaders, responseHeaders } from "./cors.ts";
import { Admission } from "#pkg/listen/in-flight.ts";
import { type Encoding, encodingNames, parseEncoding } from "#pkg/listen/inflate.ts";
import { ingest, logUnanswered, type ReceiverParts, refuse, refuseMalformed } from "./ingest.ts";
import type { ProtocolMetrics } from "./metrics.ts";

const protocol = "otlp_http";
const tracesPath = "/v1/traces";
const grpcInvalidArgument = 3;
const grpcUnavailable = 14;
const contentTypes: Record<BodyFormat, string> = {
  protobuf: "application/x-protobuf",
  json: "application/json",
};

/** A request that is not for us, before its body is read. */
interface RouteRefusal {
  httpStatus: number;
  /** gRPC status for the body. */
  code: number;
  reason: string;
  message: string;
  headers?: Record<string, string>;
}

/** A request whose body is being read, by its socket: all that is known when it fails there. */
interface Reading {
  format: BodyFormat;
  res: ServerResponse;
}

interface Accepted {
  format: BodyFormat;
  encoding: Encoding;
}

export class OtlpHttpServer {
  #parts: ReceiverParts;
  #metrics: ProtocolMetrics;
  #server: Server;
  #isStopping = false;
  readonly #reading = new WeakMap<Socket, Reading>();

  constructor(parts: ReceiverParts) {
    const { config } = parts;
    this.#parts = parts;
    this.#metrics = parts.metrics.forProtocol(protocol);
    const { headersTimeoutMs, requestTimeoutMs } = config;
    this.#server = createServer(
      {
        headersTimeout: Math.min(headersTimeoutMs, requestTimeoutMs),
        requestTimeout: requestTimeoutMs,
        keepAliveTimeout: config.idleTimeoutMs,
        // HTTP/1.0 clients and health checks of load balancers send none; nothing here needs it.
        requireHostHeader: false,
        connectionsCheckingInterval: Math.max(
          50,
          Math.min(headersTimeoutMs, requestTimeoutMs, 10_000) / 4,
        ),
      },
      (req, res) => {
        this.#handle(req, res).catch((error: unknown) => {
          logUnanswered(parts.log, protocol, error);
          res.destroy();
        });
      },
    );
    this.#server.maxConnections = config.connectionsMax;
    this.#server.on("clientError", (error, socket) => this.#refuseBytes(error, socket as Socket));
  }

  /** Listens; resolves with the port. */
  async start(): Promise<number> {
    const { host, httpPort } = this.#parts.config;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(httpPort, host, () => resolve());
    });
    return (this.#server.address() as AddressInfo).port;
  }

  /** Accepts no more connections; resolves when the last request is answered. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  /** Closes connections without an answer. */
  kill(): void {
    this.#server.closeAllConnections();
  }

  async #handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const startedMs = performance.now();
    for (const [name, value] of responseHeaders(req, this.#parts.config.corsAllowedOrigins)) {
      res.setHeader(name, value);
    }
    if (this.#isStopping) res.setHeader("Connection", "close");
    const route = acceptRequest(req, this.#parts.config.bodyBytesMax);
    if (!("format" in route)) {
      this.#refuseRoute(req, res, route);
      return;
    }
    const gone = new AbortController();
    res.once("close", () => {
      if (!res.writableFinished) {
        gone.abort(new SpoorError("Canceled", "client went away", { reason: "client_gone" }));
      }
    });
    const { signal } = gone;
    const peer = peerOf(req.socket);
    const admission = new Admission(this.#parts.inFlight);
    this.#reading.set(req.socket, { format: route.format, res });
    try {
      const tenant = this.#parts.access.tenantOf({ tenants: tenantValues(req) });
      const body = await readBody(req, admission, this.#parts.config.bodyBytesMax);
      const metrics = this.#metrics;
      const lease = admission.lease();
      const input = { ...route, body, tenant, protocol, peer, metrics, lease, signal };
      const result = await ingest(this.#parts, input);
      this.#metrics.stored(result, (performance.now() - startedMs) / 1000);
      answer(res, 200, route.format, encodeResponse(result, route.format));
    } catch (thrown) {
      const context = { metrics: this.#metrics, protocol, peer, signal, startedMs };
      const error = refuse(this.#parts, thrown, context);
      if (error.retryAfterMs !== undefined) {
        res.setHeader("Retry-After", Math.max(1, Math.ceil(error.retryAfterMs / 1000)));
      }
      const { httpStatus } = errorTable[error.code];
      answer(res, httpStatus, route.format, encodeError(statusOf(error), route.format));
    } finally {
      admission.release();
    }
  }

  #refuseRoute(req: IncomingMessage, res: ServerResponse, refusal: RouteRefusal): void {
    for (const [name, value] of Object.entries(refusal.headers ?? {})) res.setHeader(name, value);
    if (refusal.httpStatus === 204) {
      const { corsAllowedOrigins } = this.#parts.config;
      for (const [name, value] of preflightHeaders(req, corsAllowedOrigins)) {
        res.setHeader(name, value);
      }
      res.writeHead(204).end();
      return;
    }
    const { reason, message } = refusal;
    const peer = peerOf(req.socket);
    refuseMalformed(this.#parts, this.#metrics, { protocol, peer, reason, message });
    const format = bodyFormat(req.headers["content-type"]) ?? "json";
    answer(res, refusal.httpStatus, format, encodeError(refusal, format));
  }

  /** Answers bytes that node:http could not read as a request, or that came too slowly. */
  #refuseBytes(error: NodeJS.ErrnoException, socket: Socket): void {
    const reading = this.#reading.get(socket);
    const isInBody = reading !== undefined && !reading.res.writableEnded;
    const { httpStatus, reason, message } = unreadableOf(error, isInBody);
    const peer = peerOf(socket);
    refuseMalformed(this.#parts, this.#metrics, { protocol, peer, reason, message });
    const isUsable = socket.writable && error.code !== "ECONNRESET";
    if (!isUsable || reading?.res.headersSent === true) {
      socket.destroy();
      return;
    }
    const format = isInBody ? reading.format : "json";
    const retryAfterMs = httpStatus === 503 ? this.#parts.config.retryAfterMs : undefined;
    const code = httpStatus === 503 ? grpcUnavailable : grpcInvalidArgument;
    endWithAnswer(socket, {
      httpStatus,
      contentType: contentTypes[format],
      body: encodeError({ code, message, reason, retryAfterMs }, format),
      retryAfterSeconds: retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1000),
    });
  }
}

/** Decides by the head of a request alone. */
function acceptRequest(req: IncomingMessage, bytesMax: number): Accepted | RouteRefusal {
  if (req.url !== tracesPath && pathOfTarget(req.url ?? "") !== tracesPath) {
    const message = `no such path: only ${tracesPath} takes data here`;
    return { httpStatus: 404, code: 5, reason: "not_found", message };
  }
  if (req.method !== "POST") {
    const isPreflight = req.method === "OPTIONS";
    return {
      httpStatus: isPreflight ? 204 : 405,
      code: 12,
      reason: "method_not_allowed",
      message: `${tracesPath} takes POST, not ${req.method}`,
      headers: { Allow: "POST, OPTIONS" },
    };
  }
  const format = bodyFormat(req.headers["content-type"]);
  if (format === undefined) {
    const got = req.headers["content-type"] ?? "none";
    return {
      httpStatus: 415,
      code: 3,
      reason: "content_type",
      message: `content type must be application/x-protobuf or application/json, not ${got}`,
    };
  }
  const encoding = parseEncoding(req.headers["content-encoding"]);
  if (encoding === undefined) {
    const known = encodingNames.join(", ");
    return {
      httpStatus: 415,
      code: 3,
      reason: "content_encoding",
      message:
        `content encoding must be ${known}, not ${req.headers["content-encoding"]}: ` +
        "set `compression: gzip` in the exporter",
      headers: { "Accept-Encoding": known },
    };
  }
  if (Number(req.headers["content-length"] ?? 0) > bytesMax) {
    const message = `request over ${bytesMax} bytes`;
    return { httpStatus: 413, code: 8, reason: "body_too_large", message };
  }
  return { format, encoding };
}

function bodyFormat(contentType: string | undefined): BodyFormat | undefined {
  const [type] = (contentType ?? "").split(";", 1);
  switch (type.trim().toLowerCase()) {
    case "application/x-protobuf":
      return "protobuf";
    case "application/json":
      return "json";
    default:
      return undefined;
  }
}

/** All values of X-Scope-OrgID: node:http joins duplicates with ", ". */
function tenantValues(req: IncomingMessage): string[] {
  const joined = req.headers["x-scope-orgid"] as string | undefined;
  if (joined === undefined) return [];
  return joined.includes(",") ? (req.headersDistinct["x-scope-orgid"] ?? []) : [joined];
}

/** Address of a client, for people. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return remoteAddress === undefined ? "" : `${remoteAddress}:${remotePort}`;
}

/**
 * Reads a body, counting what came on the request's lease, which it gets with the first bytes.
 * Throws TooLarge, LimitExceeded, Canceled.
 */
async function readBody(
  req: IncomingMessage,
  admission: Admission,
  bytesMax: number,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  await new Promise<void>((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      try {
        if (size > bytesMax) {
          throw new SpoorError("TooLarge", `request over ${bytesMax} bytes`, {
            reason: "body_too_large",
          });
        }
        admission.lease().resize(size);
        chunks.push(chunk);
      } catch (error) {
        // Whatever else comes is read and thrown away, so that the client sees the answer.
        req.off("data", onData);
        req.resume();
        reject(error as Error);
      }
    };
    req.on("data", onData);
    req.once("end", resolve);
    req.once("error", () => undefined);
    req.once("close", () => {
      // Every request closes: an error object (with its stack) only for those that did not end.
      if (req.readableEnded) return;
      reject(new SpoorError("Canceled", "client went away", { reason: "client_gone" }));
    });
  });
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size);
}

function answer(
  res: ServerResponse,
  httpStatus: number,
  format: BodyFormat,
  body: Uint8Array | string,
): void {
  if (res.destroyed) return;
  const size = typeof body === "string" ? Buffer.byteLength(body) : body.length;
  res.writeHead(httpStatus, { "Content-Type": contentTypes[format], "Content-Length": size });
  res.end(body);
}
