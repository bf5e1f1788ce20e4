/** Network errors, which all remote stores share. */
import { type ErrorCode, type Reason, SpoorError } from "#pkg/errors/errors.ts";
import { errnoOf } from "#pkg/objstore/fs/fs-errors.ts";

const knownErrors: Readonly<Record<string, readonly [ErrorCode, Reason]>> = {
  ECONNREFUSED: ["Unavailable", "unreachable"],
  ECONNRESET: ["Unavailable", "connection_lost"],
  ECONNABORTED: ["Unavailable", "connection_lost"],
  EPIPE: ["Unavailable", "connection_lost"],
  ERR_STREAM_PREMATURE_CLOSE: ["Unavailable", "connection_lost"],
  ERR_STREAM_DESTROYED: ["Unavailable", "connection_lost"],
  HPE_INVALID_CONSTANT: ["Unavailable", "not_http"],
  EPROTO: ["Unavailable", "tls"],
  EHOSTUNREACH: ["Unavailable", "unreachable"],
  ENETUNREACH: ["Unavailable", "unreachable"],
  ENETDOWN: ["Unavailable", "unreachable"],
  EADDRNOTAVAIL: ["Unavailable", "unreachable"],
  ENOTFOUND: ["Unavailable", "host_not_found"],
  EAI_AGAIN: ["Unavailable", "host_not_found"],
  EMFILE: ["Unavailable", "too_many_files"],
  ETIMEDOUT: ["Timeout", "connect_timeout"],
  ESOCKETTIMEDOUT: ["Timeout", "request_timeout"],
};

/** Returns undefined if neither `error` nor one of its causes is a network error. */
export function networkError(error: Error, attempt: string): SpoorError | undefined {
  for (
    let at: unknown = error, depth = 0;
    at instanceof Error && depth < 8;
    at = at.cause, depth++
  ) {
    const found = classify(at);
    if (found === undefined) continue;
    const [code, reason] = found;
    return new SpoorError(code, `${attempt}: ${detailOf(at)}`, { reason, cause: error });
  }
  return undefined;
}

function classify(error: Error): readonly [ErrorCode, Reason] | undefined {
  const errno = errnoOf(error) ?? "";
  const known = knownErrors[errno] as (typeof knownErrors)[string] | undefined;
  if (known !== undefined) return known;
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|^ERR_(?:TLS|SSL)/u.test(errno))
    return ["Unavailable", "tls"];
  if (/^(?:aborted|socket hang up|premature close)$/iu.test(error.message)) {
    return ["Unavailable", "connection_lost"];
  }
  return undefined;
}

/** A host with several addresses fails with an AggregateError that has no message of its own. */
function detailOf(error: Error): string {
  if (error.message !== "") return error.message;
  const { errors } = error as { errors?: unknown };
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  return first instanceof Error ? first.message : (errnoOf(error) ?? error.name);
}

/** Parses a `Retry-After` of seconds or of a date; undefined if it is missing or malformed. */
export function retryAfterMs(
  header: string | undefined,
  nowMs: number = Date.now(),
): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/u.test(header)) return Number(header) * 1000;
  const dateMs = Date.parse(header);
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
}
