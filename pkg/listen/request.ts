// HOT: runs per request; measured by `npm run bench` (receive).
/** Helpers for requests of every HTTP port: bounded body, credentials, disconnect signal. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Credentials } from "#pkg/tenant/tenant.ts";
import type { Admission } from "./in-flight.ts";

/** Returns a signal that aborts if the client disconnects before its response is complete. */
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

/** Returns all values of X-Scope-OrgID: node:http joins duplicates with ", ". */
function tenantValues(req: IncomingMessage, joined: string | string[]): string[] {
  const isOne = typeof joined === "string" && !joined.includes(",");
  return isOne ? [joined] : (req.headersDistinct["x-scope-orgid"] ?? []);
}

/**
 * Reads a body. The first bytes admit the request; all bytes count on its lease. Throws TooLarge,
 * LimitExceeded, Canceled.
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
        // The rest is read and discarded, so that the client sees the response.
        req.off("data", onData);
        req.resume();
        reject(error as Error);
      }
    };
    req.on("data", onData);
    req.once("end", resolve);
    req.once("error", () => undefined);
    req.once("close", () => {
      // Every request emits close. The error, with its costly stack, is made only if needed.
      if (req.readableEnded) return;
      reject(clientGone());
    });
  });
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size);
}
