// HOT: runs per request; measured by `npm run bench` (receive).
/** What every HTTP port wants of a request: its body within bounds, its credentials, its end. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Credentials } from "#pkg/tenant/tenant.ts";
import type { Admission } from "./in-flight.ts";

/** Aborts when the client goes away before it has its answer. */
export function signalOf(res: ServerResponse): AbortSignal {
  const gone = new AbortController();
  res.once("close", () => {
    if (!res.writableFinished) gone.abort(clientGone());
  });
  return gone.signal;
}

function clientGone(): SpoorError {
  return new SpoorError("Canceled", "client went away", { reason: "client_gone" });
}

/** Returns the credentials that a request carries. */
export function credentialsOf(req: IncomingMessage): Credentials {
  const { authorization, "x-scope-orgid": tenants } = req.headers;
  return { authorization, tenants: tenants === undefined ? [] : tenantValues(req, tenants) };
}

/** All values of X-Scope-OrgID: node:http joins duplicates with ", ". */
function tenantValues(req: IncomingMessage, joined: string | string[]): string[] {
  const isOne = typeof joined === "string" && !joined.includes(",");
  return isOne ? [joined] : (req.headersDistinct["x-scope-orgid"] ?? []);
}

/**
 * Reads a body, counting what came on the request's lease, which it gets with the first bytes.
 * Throws TooLarge, LimitExceeded, Canceled.
 */
export async function readBody(
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
      reject(clientGone());
    });
  });
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size);
}
