/**
 * Cross-origin headers, so that web pages can send requests
 * (https://fetch.spec.whatwg.org/#http-cors-protocol). Credentials are never allowed.
 */
import type { IncomingMessage } from "node:http";

type Headers = [name: string, value: string][];

/** Returns the CORS headers of every response to a request with an `Origin`. */
export function responseHeaders(req: IncomingMessage, allowedOrigins: readonly string[]): Headers {
  const { origin } = req.headers;
  if (origin === undefined) return [];
  const allowed = allowedOrigin(origin, allowedOrigins);
  if (allowed === undefined) return [];
  const headers: Headers = [
    ["Access-Control-Allow-Origin", allowed],
    ["Access-Control-Expose-Headers", "Retry-After"],
  ];
  if (allowed !== "*") headers.push(["Vary", "Origin"]);
  return headers;
}

/**
 * Returns further headers of the response to a preflight request. Every request header is allowed,
 * since most are ignored.
 *
 * @param methods the methods of the path.
 */
export function preflightHeaders(
  req: IncomingMessage,
  allowedOrigins: readonly string[],
  methods: string,
): Headers {
  const { origin } = req.headers;
  if (origin === undefined || allowedOrigin(origin, allowedOrigins) === undefined) return [];
  const headers: Headers = [
    ["Access-Control-Allow-Methods", methods],
    ["Access-Control-Max-Age", "86400"],
  ];
  const requested = req.headers["access-control-request-headers"];
  if (requested !== undefined) headers.push(["Access-Control-Allow-Headers", requested]);
  return headers;
}

function allowedOrigin(origin: string, allowedOrigins: readonly string[]): string | undefined {
  if (allowedOrigins.includes("*")) return "*";
  return allowedOrigins.includes(origin) ? origin : undefined;
}
