/** Reads the body of a response, a stream of known length, into one array. */
import { Readable } from "node:stream";
import { SpoorError } from "#pkg/errors/errors.ts";
import { checkSignal } from "./checks.ts";

export interface ReadBody {
  key: string;
  /** Expected number of bytes. */
  sizeBytes: number;
  signal: AbortSignal | undefined;
  /** The stream must not be destroyed: after an abort its rest is read and discarded. */
  isDrained?: boolean;
  /** Receives the bytes; a new array by default. */
  into?: Uint8Array;
}

/**
 * Returns the bytes of the body. Throws Unavailable, "connection_lost", if the body is shorter or
 * longer than expected, Corrupt, "checksum_mismatch", if the client finds other bytes than were
 * stored, and other errors of the stream unchanged. After an error the stream is destroyed.
 */
export async function readBody(
  body: unknown,
  { key, sizeBytes, signal, isDrained = false, into }: ReadBody,
): Promise<Uint8Array> {
  if (!(body instanceof Readable)) {
    throw new SpoorError("Internal", `read object ${key}: response body is not a stream`);
  }
  const abort = (): void => void body.destroy(new Error("aborted"));
  const bytes = into ?? new Uint8Array(sizeBytes);
  let filled = 0;
  try {
    if (!isDrained) {
      if (signal?.aborted) abort();
      signal?.addEventListener("abort", abort, { once: true });
    }
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      if (filled + chunk.length > sizeBytes)
        throw wrongLength(key, filled + chunk.length, sizeBytes);
      bytes.set(chunk, filled);
      filled += chunk.length;
    }
  } catch (error) {
    checkSignal(signal, `read object ${key}`);
    throw checksumError(error, key);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
  if (filled !== sizeBytes) throw wrongLength(key, filled, sizeBytes);
  return bytes;
}

function wrongLength(key: string, got: number, expected: number): SpoorError {
  const message = `read object ${key}: got ${got} bytes of ${expected}`;
  return new SpoorError("Unavailable", message, { reason: "connection_lost" });
}

/** The SDKs of both clouds report a body with a wrong checksum as a plain Error. */
function checksumError(error: unknown, key: string): unknown {
  if (
    !(error instanceof Error) ||
    !/checksum|did not match|CONTENT_DOWNLOAD_MISMATCH/iu.test(
      `${error.message} ${String((error as { code?: unknown }).code)}`,
    )
  ) {
    return error;
  }
  const message = `read object ${key}: the bytes do not match the stored checksum`;
  return new SpoorError("Corrupt", message, { reason: "checksum_mismatch", cause: error });
}
