// HOT: runs per request; measured by `npm run bench` (receive).
/** Answers of gRPC on a stream of HTTP/2: a message, messages one after the other, or a status. */
import { once } from "node:events";
import { constants, type ServerHttp2Stream } from "node:http2";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { orAborted } from "./aborts.ts";
import { frameMessage } from "./frame.ts";
import { statusTrailers } from "./metadata.ts";
import { type Status, statusOf } from "./status.ts";

const head = { ":status": 200, "content-type": "application/grpc+proto" };
const okTrailers = { "grpc-status": "0" };

/** The answer of a unary call. */
export function answerMessage(stream: ServerHttp2Stream, message: Uint8Array): void {
  if (stream.closed || stream.destroyed) return;
  stream.respond(head, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers(okTrailers));
  stream.end(frameMessage(message));
}

/** A "trailers-only" answer. If the client is still sending, it is told to stop. */
export function answerStatus(
  stream: ServerHttp2Stream,
  status: Status,
  headers: Record<string, string> = {},
): void {
  if (stream.closed || stream.destroyed) return;
  stream.respond({ ...head, ...headers, ...statusTrailers(status) }, { endStream: true });
  if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
}

interface StreamOptions {
  signal: AbortSignal;
  /** What the client is told of an error. */
  refuse: (thrown: unknown) => SpoorError;
}

/**
 * Sends messages as they are made, no faster than the client takes them. Throws what failed before
 * the first of them; what fails later ends the stream with its status. A client that goes away ends
 * it too, as clients do that have seen enough.
 */
export async function answerStream(
  stream: ServerHttp2Stream,
  messages: AsyncIterable<Uint8Array>,
  { signal, refuse }: StreamOptions,
): Promise<void> {
  let trailers: Record<string, string> = okTrailers;
  const iterator = messages[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await orAborted(iterator.next(), signal);
      if (stream.closed || stream.destroyed) return;
      if (!stream.headersSent) {
        stream.respond(head, { waitForTrailers: true });
        stream.once("wantTrailers", () => stream.sendTrailers(trailers));
      }
      if (done === true) break;
      if (!stream.write(frameMessage(value))) await once(stream, "drain", { signal });
    }
  } catch (thrown) {
    if (!stream.headersSent) throw thrown;
    if (stream.closed || stream.destroyed) return;
    trailers = statusTrailers(statusOf(refuse(thrown)));
  } finally {
    // Not awaited: it may be waiting for what never comes. Its own errors have been told.
    iterator.return?.().catch(() => undefined);
  }
  stream.end();
}
