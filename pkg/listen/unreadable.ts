/**
 * Answers to bytes that node:http could not read as a request: a `clientError`. There is no request
 * or response object then, only the socket.
 */
import type { Socket } from "node:net";

export interface Unreadable {
  httpStatus: number;
  /** As in metrics and lists of refusals. */
  reason: string;
  /** What is wrong, for the client. */
  message: string;
}

/** What a `clientError` means for the client. `hasHeaders`: it was reading a request's body. */
export function unreadableOf(error: NodeJS.ErrnoException, hasHeaders: boolean): Unreadable {
  switch (error.code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      // Clients of OTLP send again after 503, and give up after 408.
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

/** Writes an answer to a socket that still can take one, and closes it. */
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
