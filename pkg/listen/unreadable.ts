/**
 * Responses to bytes that node:http could not parse as a request (`clientError`). There is no
 * request or response object then, only the socket.
 */
import type { Socket } from "node:net";

export interface Unreadable {
  httpStatus: number;
  /** Reason in metrics and in lists of refusals. */
  reason: string;
  /** Message for the client. */
  message: string;
}

/**
 * Returns the status and message of a `clientError`.
 *
 * @param hasHeaders whether the error is in a request's body.
 */
export function unreadableOf(error: NodeJS.ErrnoException, hasHeaders: boolean): Unreadable {
  switch (error.code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      // OTLP clients retry after 503 but not after 408.
      return hasHeaders
        ? { httpStatus: 503, reason: "request_timeout", message: "body was not sent in time" }
        : { httpStatus: 408, reason: "request_timeout", message: "headers were not sent in time" };
    case "HPE_HEADER_OVERFLOW":
      return {
        httpStatus: 431,
        reason: "headers_too_large",
        message: "request line and headers are too large",
      };
    case "HPE_INVALID_URL":
      return {
        httpStatus: 400,
        reason: "invalid_http",
        message: "the request target is malformed: bytes outside of ASCII must be percent-encoded",
      };
    default: {
      const { message } = error;
      return { httpStatus: 400, reason: "invalid_http", message: `malformed request: ${message}` };
    }
  }
}

export interface RawAnswer {
  httpStatus: number;
  contentType: string;
  body: Uint8Array | string;
  retryAfterSeconds?: number;
}

const statusTexts: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
  503: "Service Unavailable",
};

/** Writes a response to a socket that is still writable, and closes it. */
export function endWithAnswer(socket: Socket, answer: RawAnswer): void {
  const { httpStatus, contentType, body, retryAfterSeconds } = answer;
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  const head = [
    `HTTP/1.1 ${httpStatus} ${statusTexts[httpStatus] ?? "Error"}`,
    "Connection: close",
    `Content-Type: ${contentType}`,
    `Content-Length: ${bytes.length}`,
    ...(retryAfterSeconds === undefined ? [] : [`Retry-After: ${retryAfterSeconds}`]),
  ];
  socket.write(`${head.join("\r\n")}\r\n\r\n`);
  socket.end(bytes);
}
