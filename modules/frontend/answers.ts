/** From an answer of ours, or an error, to an HTTP response. The only place that does it. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { redactUserinfo } from "#pkg/log/redact.ts";
import { errorTable, type SpoorError } from "#pkg/errors/errors.ts";

export interface Answer {
  status: number;
  contentType: string;
  body: string | Uint8Array;
  headers?: Record<string, string>;
}

const gzipAsync = promisify(gzip);
/** Below this, compression costs more than it saves. */
const gzipBytesMin = 1024;

export function textAnswer(body: string, status = 200): Answer {
  return { status, contentType: "text/plain; charset=utf-8", body };
}

export function jsonAnswer(body: string | Uint8Array): Answer {
  return { status: 200, contentType: "application/json", body };
}

/** The error's message as plain text; an internal one says nothing about the inside. */
export function errorAnswer(error: SpoorError): Answer {
  const { httpStatus } = errorTable[error.code];
  const body = error.code === "Internal" ? "internal error" : redactUserinfo(error.message);
  const answer = textAnswer(body, httpStatus);
  if (error.retryAfterMs !== undefined) {
    const seconds = Math.max(1, Math.ceil(error.retryAfterMs / 1000));
    answer.headers = { "Retry-After": String(seconds) };
  }
  return answer;
}

/** Compresses on libuv's threads if the client takes gzip. */
export async function toResponse(
  { status, contentType, body, headers }: Answer,
  acceptEncoding: string,
): Promise<Response> {
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  const fields = new Headers({ ...headers, "Content-Type": contentType });
  fields.set("X-Content-Type-Options", "nosniff");
  fields.set("Vary", "Accept-Encoding");
  let out: Uint8Array = bytes;
  if (bytes.length >= gzipBytesMin && takesGzip(acceptEncoding)) {
    out = await gzipAsync(bytes, { level: 1 });
    fields.set("Content-Encoding", "gzip");
  }
  fields.set("Content-Length", String(out.length));
  return new Response(out as Uint8Array<ArrayBuffer>, { status, headers: fields });
}

function takesGzip(acceptEncoding: string): boolean {
  return acceptEncoding.split(",").some((part) => {
    const [name, ...params] = part.split(";").map((text) => text.trim().toLowerCase());
    return name === "gzip" && !params.some((param) => /^q=0(\.0*)?$/.test(param));
  });
}

/** A text as a header's value: what HTTP does not allow becomes "?". */
export function headerText(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 1000);
}
