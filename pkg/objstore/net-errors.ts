/** Errors of the way to a server, which all remote stores share. */
import { type ErrorCode, SpoorError } from "#pkg/errors/errors.ts";
import type { Reason } from "#pkg/errors/reasons.ts";
import { errnoOf } from "./fs-errors.ts";

const answers: Readonly<Record<string, readonly [ErrorCode, Reason]>> = {
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

/** Undefined if `error`, and what caused it, does not come from the network. */
export function networkError(error: Error, attempt: string): SpoorError | undefined {
  for (
    let at: unknown = error, depth = 0;
    at instanceof Error && depth < 8;
    at = at.cause, depth++
  ) {
    const found = networkAnswer(at);
    if (found === undefined) continue;
    const [code, reason] = found;
    return new SpoorError(code, `${attempt}: ${detailOf(at)}`, { reason, cause: error });
  }
  return undefined;
}

function networkAnswer(error: Error): readonly [ErrorCode, Reason] | undefined {
  const errno = errnoOf(error) ?? "";
  const known = answers[errno] as (typeof answers)[string] | undefined;
  if (known !== undefined) return known;
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|^ERR_(?:TLS|SSL)/u.test(errno))
    return ["Unavailable", "tls"];
  if (/^(?:aborted|socket hang up|premature close)$/iu.test(error.message)) {
    return ["Unavailable", "connection_lost"];
  }
  return undefined;
}

/** Several addresses of one host give one error without a message of its own. */
function detailOf(error: Error): string {
  if (error.message !== "") return error.message;
  const { errors } = error as { errors?: unknown };
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  return first instanceof Error ? first.message : (errnoOf(error) ?? error.name);
}

/** A `Retry-After` of seconds or of a date; undefined if there is none that can be read. */
export function retryAfterMs(
  header: string | undefined,
  nowMs: number = Date.now(),
): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/u.test(header)) return Number(header) * 1000;
  const dateMs = Date.parse(header);
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
}
