/** Checks of arguments and responses that all stores share. */
import { SpoorError } from "#pkg/errors/errors.ts";

/** Maximum number of bytes that one read returns; larger objects are read in ranges. 1 GiB. */
export const readBytesMax: number = 2 ** 30;

/** Throws InvalidInput unless [start, end) is a valid range of at most `readBytesMax` bytes. */
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

/** `sizeBytes` is undefined if the store does not report it. */
export function shortObject(key: string, end: number, sizeBytes: number | undefined): SpoorError {
  const where = sizeBytes === undefined ? "too early" : `at byte ${sizeBytes}`;
  const message = `object ${key} ends ${where}, expected at least ${end}`;
  return new SpoorError("Corrupt", message, { reason: "short_object" });
}

/** A retry by the caller finds the new content, or none. */
export function sourceChanged(key: string, cause?: unknown): SpoorError {
  const message = `object ${key} was replaced or deleted while it was copied into another object`;
  return new SpoorError("Unavailable", message, { reason: "source_changed", cause });
}

export function objectTooLarge(key: string, sizeBytes: number): SpoorError {
  const message = `read object ${key}: ${sizeBytes} bytes exceed the limit of ${readBytesMax}`;
  return new SpoorError("TooLarge", message, { reason: "object_too_large" });
}

/** On a disk a name is a file or a folder, so no store may hold both "a" and "a/b". */
export function keyIsFolder(key: string, cause?: unknown): SpoorError {
  const message = `write object ${key}: another key has this name, or a folder of it, as an object`;
  return new SpoorError("InvalidInput", message, { reason: "key_is_folder", cause });
}

/** Returns a copy. `slice` copies a Uint8Array, but returns a view if the array is a Buffer. */
export function copyOf(bytes: Uint8Array, start?: number, end?: number): Uint8Array {
  return new Uint8Array(bytes.subarray(start, end));
}

/** Waits for work that does not take a signal: an abort ends the wait, not the work. */
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
