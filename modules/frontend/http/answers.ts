/** Converts an Answer or an error to an HTTP response. All routes of the API use it. */
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { createGzip, gzip } from "node:zlib";
import { redactUserinfo } from "#pkg/log/log.ts";
import { errorTable, type SpoorError } from "#pkg/errors/errors.ts";

export interface Answer {
  status: number;
  contentType: string;
  /** A text, bytes, or chunks of bytes to be joined. */
  body: string | Uint8Array | readonly Uint8Array[];
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

/** Returns the error's message as plain text; for an internal error, no details. */
export function errorAnswer(error: SpoorError): Answer {
  // As in Tempo: the request is valid but cannot be answered.
  const isUnprocessable = error.reason === "trace_too_large";
  const httpStatus = isUnprocessable ? 422 : errorTable[error.code].httpStatus;
  const body = error.code === "Internal" ? "internal error" : shownText(error.message);
  const answer = textAnswer(body, httpStatus);
  if (error.retryAfterMs !== undefined) {
    const seconds = Math.max(1, Math.ceil(error.retryAfterMs / 1000));
    answer.headers = { "Retry-After": String(seconds) };
  }
  return answer;
}

const messageCharsMax = 4096;

/** Cuts a message, which may quote the request, and redacts credentials in URLs. */
function shownText(message: string): string {
  const cut = message.length > messageCharsMax ? `${message.slice(0, messageCharsMax)}…` : message;
  return redactUserinfo(cut);
}

/** Makes the HTTP response. Compresses on libuv's threads if the client accepts gzip. */
export async function toResponse(
  { status, contentType, body, headers }: Answer,
  acceptEncoding: string,
): Promise<Response> {
  const chunks = chunksOf(body);
  const sizeBytes = bytesOf(body);
  const fields = new Headers({ ...headers, "Content-Type": contentType });
  fields.set("X-Content-Type-Options", "nosniff");
  fields.set("Vary", "Accept-Encoding");
  const isPacked = sizeBytes >= gzipBytesMin && takesGzip(acceptEncoding);
  if (isPacked) fields.set("Content-Encoding", "gzip");
  if (chunks.length > 1) {
    if (!isPacked) fields.set("Content-Length", String(sizeBytes));
    const bytes = Readable.from(chunks);
    const packed = isPacked ? bytes.pipe(createGzip({ level: 1 })) : bytes;
    const stream = Readable.toWeb(packed) as ReadableStream<Uint8Array<ArrayBuffer>>;
    return new Response(stream, { status, headers: fields });
  }
  const [whole = new Uint8Array(0)] = chunks;
  const out = isPacked ? await gzipAsync(whole, { level: 1 }) : whole;
  fields.set("Content-Length", String(out.length));
  return new Response(out as Uint8Array<ArrayBuffer>, { status, headers: fields });
}

function chunksOf(body: Answer["body"]): readonly Uint8Array[] {
  if (typeof body === "string") return [Buffer.from(body)];
  return body instanceof Uint8Array ? [body] : body;
}

/** Returns the size of a body before compression, bytes. */
export function bytesOf(body: Answer["body"]): number {
  return chunksOf(body).reduce((sum, { length }) => sum + length, 0);
}

function takesGzip(acceptEncoding: string): boolean {
  return acceptEncoding.split(",").some((part) => {
    const [name, ...params] = part.split(";").map((text) => text.trim().toLowerCase());
    return name === "gzip" && !params.some((param) => /^q=0(\.0*)?$/.test(param));
  });
}

/** Returns a text as a header value: "?" for characters that HTTP forbids, at most 1,000. */
export function headerText(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 1000);
}
