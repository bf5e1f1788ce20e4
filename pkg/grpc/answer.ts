// HOT: runs per request; measured by `npm run bench` (receive).
/** Writes gRPC responses to an HTTP/2 stream: one message, a stream of messages, or a status. */
import { once } from "node:events";
import { constants, type ServerHttp2Stream } from "node:http2";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { orAborted } from "./aborts.ts";
import { frameMessage } from "./frame.ts";
import { statusTrailers } from "./metadata.ts";
import { type Status, statusOf } from "./status.ts";

const head = { ":status": 200, "content-type": "application/grpc+proto" };
const okTrailers = { "grpc-status": "0" };

/** Sends the response of a unary call. */
export function answerMessage(stream: ServerHttp2Stream, message: Uint8Array): void {
  if (stream.closed || stream.destroyed) return;
  stream.respond(head, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers(okTrailers));
  stream.end(frameMessage(message));
}

/** Sends a "trailers-only" response. Resets the stream if the client is still sending. */
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
  /** Returns the error for the client. */
  refuse: (thrown: unknown) => SpoorError;
}

/**
 * Sends messages as they are produced, no faster than the client reads them. Throws an error that
 * occurs before the first message; a later error ends the stream with its status. The stream also
 * ends when the client disconnects or cancels.
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
    // Not awaited: the iterator may wait for something that never happens.
    iterator.return?.().catch(ignoreReturnError);
  }
  stream.end();
}

/** The call has ended: an error while its iterator is closed has no receiver. */
function ignoreReturnError(): void {}
