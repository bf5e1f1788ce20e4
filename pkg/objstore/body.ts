/** Reads the body of an answer, a stream, into bytes of a known number. */
import { Readable } from "node:stream";
import { SpoorError } from "#pkg/errors/errors.ts";
import { checkSignal } from "./checks.ts";

export interface ReadBody {
  key: string;
  /** How many bytes there must be. */
  sizeBytes: number;
  signal: AbortSignal | undefined;
  /** Where the bytes go; a new array unless given. */
  into?: Uint8Array;
}

/**
 * Unavailable, "connection_lost", if the body ends early or goes on too long; what the stream
 * throws otherwise. After an error the stream is destroyed.
 */
export async function readBody(
  body: unknown,
  { key, sizeBytes, signal, into }: ReadBody,
): Promise<Uint8Array> {
  if (!(body instanceof Readable)) {
    throw new SpoorError("Internal", `read object ${key}: the answer's body is no stream`);
  }
  const abort = (): void => void body.destroy(new Error("aborted"));
  const bytes = into ?? new Uint8Array(sizeBytes);
  let filled = 0;
  try {
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
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

/** The clients of both clouds find a body that is not what was stored, with errors of no kind. */
function checksumError(error: unknown, key: string): unknown {
  if (
    !(error instanceof Error) ||
    !/checksum|did not match|CONTENT_DOWNLOAD_MISMATCH/iu.test(
      `${error.message} ${String((error as { code?: unknown }).code)}`,
    )
  ) {
    return error;
  }
  const message = `read object ${key}: it does not have the checksum that was kept with it`;
  return new SpoorError("Corrupt", message, { reason: "checksum_mismatch", cause: error });
}
