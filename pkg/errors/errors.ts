/**
 * The error family of the project. Each code tells the caller what to do next. Boundaries (HTTP,
 * gRPC, workers, command line) convert `unknown` to a SpoorError with `toSpoorError`, and look up
 * the status codes in `errorTable`.
 */

import type { Reason } from "./reasons.ts";

export type ErrorCode =
  | "NotFound"
  | "InvalidInput"
  | "Unauthenticated"
  | "LimitExceeded"
  | "TooLarge"
  | "Unavailable"
  | "Timeout"
  | "Canceled"
  | "Conflict"
  | "Corrupt"
  | "Internal";

/** Representation of an error code at the boundaries. */
export interface ErrorAnswer {
  /** HTTP status code. */
  httpStatus: number;
  /** gRPC status code, https://grpc.io/docs/guides/status-codes/. */
  grpcStatus: number;
  logLevel: "debug" | "info" | "warn" | "error";
  /** Whether a retry of the request may succeed. */
  retryable: boolean;
}

/** Code -> status codes. Error status codes are defined only here. */
export const errorTable: Record<ErrorCode, ErrorAnswer> = {
  NotFound: { httpStatus: 404, grpcStatus: 5, logLevel: "debug", retryable: false },
  InvalidInput: { httpStatus: 400, grpcStatus: 3, logLevel: "debug", retryable: false },
  Unauthenticated: { httpStatus: 401, grpcStatus: 16, logLevel: "debug", retryable: false },
  LimitExceeded: { httpStatus: 429, grpcStatus: 8, logLevel: "info", retryable: true },
  TooLarge: { httpStatus: 413, grpcStatus: 8, logLevel: "info", retryable: false },
  Unavailable: { httpStatus: 503, grpcStatus: 14, logLevel: "warn", retryable: true },
  Timeout: { httpStatus: 504, grpcStatus: 4, logLevel: "warn", retryable: true },
  Canceled: { httpStatus: 499, grpcStatus: 1, logLevel: "debug", retryable: false },
  Conflict: { httpStatus: 409, grpcStatus: 10, logLevel: "warn", retryable: true },
  Corrupt: { httpStatus: 500, grpcStatus: 15, logLevel: "error", retryable: false },
  Internal: { httpStatus: 500, grpcStatus: 13, logLevel: "error", retryable: false },
};

export interface ErrorDetails {
  cause?: unknown;
  /** Short stable word for metric labels and tests, e.g. "log_full"; the code by default. */
  reason?: Reason | ErrorCode;
  /** Advised delay before a retry, milliseconds. */
  retryAfterMs?: number;
}

/** An error with a stable code. Messages name the attempt and its values, in lowercase. */
export class SpoorError extends Error {
  readonly code: ErrorCode;
  readonly reason: Reason | ErrorCode;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "SpoorError";
    this.code = code;
    this.reason = details.reason ?? code;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** Returns whether `error` is a SpoorError with this code. */
export function hasCode(error: unknown, code: ErrorCode): error is SpoorError {
  return error instanceof SpoorError && error.code === code;
}

/**
 * Converts anything thrown to a SpoorError. `AbortError` becomes Canceled, `TimeoutError` Timeout,
 * everything else Internal.
 */
export function toSpoorError(error: unknown): SpoorError {
  if (error instanceof SpoorError) return error;
  if (error instanceof Error) {
    if (error.name === "AbortError") {
      return new SpoorError("Canceled", error.message, { cause: error });
    }
    if (error.name === "TimeoutError") {
      return new SpoorError("Timeout", error.message, { cause: error });
    }
    return new SpoorError("Internal", error.message, { cause: error });
  }
  return new SpoorError("Internal", String(error));
}

/** A SpoorError as plain data, for other threads: structured clone drops subclass fields. */
export interface ErrorData {
  code: ErrorCode;
  message: string;
  reason: Reason | ErrorCode;
  retryAfterMs: number | undefined;
}

export function errorToData(error: unknown): ErrorData {
  const { code, message, reason, retryAfterMs } = toSpoorError(error);
  return { code, message, reason, retryAfterMs };
}

export function errorFromData(data: ErrorData): SpoorError {
  return new SpoorError(data.code, data.message, {
    reason: data.reason,
    retryAfterMs: data.retryAfterMs,
  });
}
export {
  type Reason,
  alreadyCommitted,
  checksumMismatch,
  claimLost,
  cutterDied,
  dataDirLocked,
  dataDirLost,
  encodeFailed,
  foreignReason,
  formatTooNew,
  newerFormat,
  ownerLost,
  parquetPanic,
  verifySilent,
  wrongUsage,
} from "./reasons.ts";
