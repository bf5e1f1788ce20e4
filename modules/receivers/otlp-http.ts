// HOT: runs per request; measured by `npm run bench` (receive).
/**
 * OTLP/HTTP on node:http: `POST /v1/traces` with protobuf or JSON, plain or compressed.
 *
 * Bad requests are refused as early as possible: by path, method, type and encoding before the body
 * is read, by size while it is read or inflated. Errors are a google.rpc.Status in the request's
 * format.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { errorTable } from "#pkg/errors/errors.ts";
import { grpcStatus, type Status, statusOf } from "#pkg/grpc/grpc.ts";
import {
  Admission,
  credentialsOf,
  type Encoding,
  encodingNames,
  findRoute,
  HttpListener,
  type Listener,
  parseEncoding,
  peerOf,
  preflightHeaders,
  type RawAnswer,
  readBody,
  type RouteFacts,
  signalOf,
  type Unreadable,
} from "#pkg/listen/listen.ts";
import type { Right } from "#pkg/tenant/tenant.ts";
import { type BodyFormat, encodeError, encodeResponse } from "./answers.ts";
import { ingest, logUnanswered, type ReceiverParts, refuse, refuseMalformed } from "./ingest.ts";
import type { ProtocolMetrics } from "./metrics.ts";

const protocol = "otlp_http";
const contentTypes: Record<BodyFormat, string> = {
  protobuf: "application/x-protobuf",
  json: "application/json",
};

/** The routes of this port. */
export const otlpHttpRoutes: readonly RouteFacts[] = [
  {
    path: "/v1/traces",
    method: "post",
    right: "write",
    params: [],
    answers: Object.values(contentTypes),
  },
];

/** A refusal by the head of a request, before its body is read. */
interface HeadRefusal extends Pick<Status, "code" | "message"> {
  httpStatus: number;
  reason: string;
  headers?: Readonly<Record<string, string>>;
}

interface Accepted {
  right: Right;
  format: BodyFormat;
  encoding: Encoding;
}

export class OtlpHttpServer implements Listener {
  readonly #parts: ReceiverParts;
  readonly #metrics: ProtocolMetrics;
  readonly #listener: HttpListener;

  constructor(parts: ReceiverParts) {
    const { config } = parts;
    this.#parts = parts;
    this.#metrics = parts.metrics.forProtocol(protocol);
    this.#listener = new HttpListener({
      ...config,
      address: { host: config.host, port: config.httpPort },
      handle: (req, res) => this.#handle(req, res),
      noteRefused: (refused) => {
        refuseMalformed(this.#parts, this.#metrics, { protocol, ...refused });
      },
      noteUnanswered: (error) => logUnanswered(parts.log, protocol, error),
      answerUnreadable: (unreadable, req) => this.#unreadable(unreadable, req),
    });
  }

  start(): Promise<number> {
    return this.#listener.start();
  }

  stop(): Promise<void> {
    return this.#listener.stop();
  }

  kill(): void {
    this.#listener.kill();
  }

  async #handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const startedMs = performance.now();
    const head = this.#accept(req, res);
    if (head === undefined) return;
    const { format, encoding } = head;
    const signal = signalOf(res);
    const metrics = this.#metrics;
    const peer = peerOf(req.socket);
    const admission = new Admission(this.#parts.inFlight);
    try {
      const tenant = this.#parts.access.check(head.right, credentialsOf(req)).tenant!;
      const body = await readBody(req, admission, this.#parts.config.bodyBytesMax);
      const lease = admission.lease();
      const input = { format, encoding, body, tenant, protocol, peer, metrics, lease, signal };
      const result = await ingest(this.#parts, input);
      metrics.stored(result, (performance.now() - startedMs) / 1000);
      answer(res, 200, format, encodeResponse(result, format));
    } catch (thrown) {
      const error = refuse(this.#parts, thrown, { metrics, protocol, peer, signal, startedMs });
      if (error.retryAfterMs !== undefined) {
        res.setHeader("Retry-After", Math.max(1, Math.ceil(error.retryAfterMs / 1000)));
      }
      const { httpStatus } = errorTable[error.code];
      answer(res, httpStatus, format, encodeError(statusOf(error), format));
    } finally {
      admission.release();
    }
  }

  /** Checks the head of a request. Answers a bad or preflight request and returns undefined. */
  #accept(req: IncomingMessage, res: ServerResponse): Accepted | undefined {
    const route = findRoute(otlpHttpRoutes, req);
    if ("path" in route) {
      const head = acceptHead(req, this.#parts.config.bodyBytesMax);
      if ("format" in head) return { ...head, right: route.right };
      this.#refuse(req, res, head);
    } else if (route.httpStatus === 204) {
      const { corsAllowedOrigins } = this.#parts.config;
      setHeaders(res, route.headers);
      for (const [name, value] of preflightHeaders(req, corsAllowedOrigins, "POST")) {
        res.setHeader(name, value);
      }
      res.writeHead(204).end();
    } else {
      const { notFound, unimplemented } = grpcStatus;
      const code = route.reason === "not_found" ? notFound : unimplemented;
      this.#refuse(req, res, { ...route, code });
    }
    return undefined;
  }

  #refuse(req: IncomingMessage, res: ServerResponse, refusal: HeadRefusal): void {
    setHeaders(res, refusal.headers ?? {});
    const { reason, message } = refusal;
    const peer = peerOf(req.socket);
    refuseMalformed(this.#parts, this.#metrics, { protocol, peer, reason, message });
    const format = bodyFormat(req.headers["content-type"]) ?? "json";
    answer(res, refusal.httpStatus, format, encodeError(refusal, format));
  }

  #unreadable(unreadable: Unreadable, req: IncomingMessage | undefined): RawAnswer {
    const { httpStatus, reason, message } = unreadable;
    const format = bodyFormat(req?.headers["content-type"]) ?? "json";
    const isForNow = httpStatus === 503;
    const retryAfterMs = isForNow ? this.#parts.config.retryAfterMs : undefined;
    const code = isForNow ? grpcStatus.unavailable : grpcStatus.invalidArgument;
    return {
      httpStatus,
      contentType: contentTypes[format],
      body: encodeError({ code, message, reason, retryAfterMs }, format),
      retryAfterSeconds: retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1000),
    };
  }
}

function setHeaders(res: ServerResponse, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
}

/** Checks content type, encoding and announced size of a body. */
function acceptHead(req: IncomingMessage, bytesMax: number): Omit<Accepted, "right"> | HeadRefusal {
  const format = bodyFormat(req.headers["content-type"]);
  if (format === undefined) {
    const got = req.headers["content-type"] ?? "none";
    return {
      httpStatus: 415,
      code: grpcStatus.invalidArgument,
      reason: "content_type",
      message: `content type must be application/x-protobuf or application/json, not ${got}`,
    };
  }
  const encoding = parseEncoding(req.headers["content-encoding"]);
  if (encoding === undefined) {
    const known = encodingNames.join(", ");
    return {
      httpStatus: 415,
      code: grpcStatus.invalidArgument,
      reason: "content_encoding",
      message:
        `content encoding must be ${known}, not ${req.headers["content-encoding"]}: ` +
        "set `compression: gzip` in the exporter",
      headers: { "Accept-Encoding": known },
    };
  }
  if (Number(req.headers["content-length"] ?? 0) > bytesMax) {
    const message = `request over ${bytesMax} bytes: send smaller batches`;
    return {
      httpStatus: 413,
      code: grpcStatus.resourceExhausted,
      reason: "body_too_large",
      message,
    };
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
