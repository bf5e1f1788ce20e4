/** Checks of arguments and answers that every store makes alike. */
import { SpoorError } from "#pkg/errors/errors.ts";

/** Most bytes that one read returns; larger objects are read in ranges. 1 GiB. */
export const readBytesMax: number = 2 ** 30;

/** Throws InvalidInput unless [start, end) is a range of bytes that may be read at once. */
export function checkRange(key: string, start: number, end: number): void {
  const sane = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0;
  if (sane && end > start && end - start <= readBytesMax) return;
  throw new SpoorError("InvalidInput", `invalid range [${start}, ${end}) of object ${key}`, {
    reason: "invalid_range",
  });
}

/** Throws Canceled (or Timeout) if `signal` has aborted. Stores call it before each step. */
export function checkSignal(signal: AbortSignal | undefined, attempt: string): void {
  if (!signal?.aborted) return;
  const cause: unknown = signal.reason;
  const timedOut = cause instanceof Error && cause.name === "TimeoutError";
  throw new SpoorError(timedOut ? "Timeout" : "Canceled", `${attempt}: aborted`, { cause });
}

export function notFound(key: string, cause?: unknown): SpoorError {
  return new SpoorError("NotFound", `object ${key} does not exist`, { cause });
}

/** `sizeBytes` is undefined where the store does not tell. */
export function shortObject(key: string, end: number, sizeBytes: number | undefined): SpoorError {
  const where = sizeBytes === undefined ? "too early" : `at byte ${sizeBytes}`;
  const message = `object ${key} ends ${where}, expected at least ${end}`;
  return new SpoorError("Corrupt", message, { reason: "short_object" });
}

/** The caller asks again, and then finds the new content, or none. */
export function sourceChanged(key: string, cause?: unknown): SpoorError {
  const message = `object ${key} was replaced or deleted while an object was made of it`;
  return new SpoorError("Unavailable", message, { reason: "source_changed", cause });
}

export function objectTooLarge(key: string, sizeBytes: number): SpoorError {
  const message = `read object ${key}: ${sizeBytes} bytes are over ${readBytesMax} at once`;
  return new SpoorError("TooLarge", message, { reason: "object_too_large" });
}

/** On a disk a name is a file or a folder, so "a" and "a/b" cannot both be objects, anywhere. */
export function keyIsFolder(key: string, cause?: unknown): SpoorError {
  const message = `write object ${key}: it, or a part of it before a /, is taken by another key`;
  return new SpoorError("InvalidInput", message, { reason: "key_is_folder", cause });
}

/** A copy: `slice` makes one of a Uint8Array, but of a Buffer, which is one too, only a view. */
export function copyOf(bytes: Uint8Array, start?: number, end?: number): Uint8Array {
  return new Uint8Array(bytes.subarray(start, end));
}

/** Waits for work that knows no signal: an abort ends the waiting, not the work. */
export async function abortable<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  attempt: string,
): Promise<T> {
  if (signal === undefined) return await work;
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => {
    try {
      checkSignal(signal, attempt);
    } catch (error) {
      aborted.reject(error);
    }
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
