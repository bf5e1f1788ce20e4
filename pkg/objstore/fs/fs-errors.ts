/** Errors of the operating system -> SpoorError. */
import {
  type ErrorCode,
  foreignReason,
  type Reason,
  SpoorError,
  toSpoorError,
} from "#pkg/errors/errors.ts";
import { keyIsFolder } from "#pkg/objstore/checks.ts";

const knownErrors: Readonly<Record<string, readonly [ErrorCode, Reason]>> = {
  ENOSPC: ["Unavailable", "disk_full"],
  EDQUOT: ["Unavailable", "disk_full"],
  EROFS: ["Unavailable", "read_only"],
  EACCES: ["Unavailable", "access_denied"],
  EPERM: ["Unavailable", "access_denied"],
  EMFILE: ["Unavailable", "too_many_files"],
  ENFILE: ["Unavailable", "too_many_files"],
  ENOMEM: ["Unavailable", "out_of_memory"],
  EAGAIN: ["Unavailable", "busy"],
  EBUSY: ["Unavailable", "busy"],
  ESTALE: ["Unavailable", "stale_handle"],
  EIO: ["Unavailable", "io_error"],
  ENODEV: ["Unavailable", "io_error"],
  ENXIO: ["Unavailable", "io_error"],
  ETIMEDOUT: ["Timeout", "io_timeout"],
  // Reads throw NotFound before this table is used; for a write, the store's own folder is missing.
  ENOENT: ["Unavailable", "folder_missing"],
  EMLINK: ["Unavailable", "too_many_links"],
  EFBIG: ["TooLarge", "object_too_large"],
  ENAMETOOLONG: ["InvalidInput", "key_too_long"],
  EILSEQ: ["InvalidInput", "invalid_key"],
};

/** Returns the errno name ("ENOENT"), or undefined if `error` is not an operating system error. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/**
 * Maps an error of `attempt` to a SpoorError. `writtenKey` is the key if the attempt was a write:
 * a folder in place of the file, or a file in place of a folder, then means that the key is bad.
 */
export function fsError(error: unknown, attempt: string, writtenKey?: string): SpoorError {
  if (error instanceof SpoorError) return error;
  const errno = errnoOf(error);
  if (errno === undefined) return toSpoorError(error);
  if (writtenKey !== undefined && (errno === "EISDIR" || errno === "ENOTDIR")) {
    return keyIsFolder(writtenKey, error);
  }
  const [code, reason] = knownErrors[errno] ?? ["Internal", foreignReason(errno.toLowerCase())];
  return new SpoorError(code, `${attempt}: ${errno}`, { cause: error, reason });
}
