/** Maps errors of Google Cloud Storage, its client and the network to SpoorErrors. */
import { type ErrorCode, type Reason, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import { checkSignal, notFound } from "#pkg/objstore/checks.ts";
import { networkError, retryAfterMs } from "#pkg/objstore/net-errors.ts";

export interface GcsContext {
  key?: string;
  signal?: AbortSignal;
}

/** Maps an error of `attempt` to a SpoorError, like `s3Error`. */
export function gcsError(thrown: unknown, attempt: string, context: GcsContext = {}): SpoorError {
  if (thrown instanceof SpoorError) return thrown;
  try {
    checkSignal(context.signal, attempt);
  } catch (aborted) {
    return toSpoorError(aborted);
  }
  const error = asError(thrown);
  const status = gcsStatusOf(error);
  if (status === 404 && context.key !== undefined && !/bucket/iu.test(error.message)) {
    return notFound(context.key, error);
  }
  const [code, reason, hint] = classify(error, status);
  if (reason === "sdk_error") {
    const network = networkError(error, attempt);
    if (network !== undefined) return network;
  }
  const from = `${status ?? error.name}: ${firstLine(error.message)}`;
  const text = hint === undefined ? from : `${hint} (${from})`;
  return new SpoorError(code, `${attempt}: ${text}`, {
    reason,
    cause: error,
    retryAfterMs: retryAfterMs(headerOf(error, "retry-after")),
  });
}

/** Resumable uploads throw responses that are not Error objects. */
function asError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  const fields = typeof thrown === "object" && thrown !== null ? thrown : {};
  const { message } = fields as { message?: unknown };
  const text =
    typeof message === "string" ? message : "the client threw a response instead of an error";
  return Object.assign(new Error(text), fields);
}

/** Returns the HTTP status of an error response that the client threw. */
export function gcsStatusOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, status, response } = error as Error & {
    code?: unknown;
    status?: unknown;
    response?: { status?: unknown; statusCode?: unknown };
  };
  for (const value of [code, status, response?.status, response?.statusCode]) {
    const number = Number(value);
    if (Number.isInteger(number) && number >= 100 && number < 600) return number;
  }
  return undefined;
}

function classify(error: Error, status: number | undefined): readonly [ErrorCode, Reason, string?] {
  const { message } = error;
  if (
    /did not match|CONTENT_DOWNLOAD_MISMATCH|crc32c.*mismatch/iu.test(`${message} ${codeOf(error)}`)
  ) {
    return ["Corrupt", "checksum_mismatch", "the bytes do not match the stored checksum"];
  }
  if (
    /could not load the default credentials|ENOENT.*\.json|invalid_grant|invalid_client/iu.test(
      message,
    )
  ) {
    const isSkew = /iat|exp|reasonable timeframe/iu.test(message);
    return isSkew
      ? ["InvalidInput", "clock_skew", "this machine's clock is too far from the server's"]
      : ["InvalidInput", "no_credentials", "no valid credentials were found"];
  }
  if (status === undefined) return ["Internal", "sdk_error"];
  if (status === 401) return ["InvalidInput", "wrong_credentials", "the credentials are not valid"];
  if (status === 403) {
    return /rate|quota/iu.test(message)
      ? ["Unavailable", "slow_down"]
      : ["InvalidInput", "access_denied", "the credentials do not allow it"];
  }
  if (status === 404) return ["InvalidInput", "bucket_missing", "the bucket does not exist"];
  if (status === 408) return ["Timeout", "request_timeout"];
  if (status === 409) return ["Unavailable", "write_conflict"];
  if (status === 429 || status === 503) return ["Unavailable", "slow_down"];
  if (status === 504) return ["Timeout", "gateway_timeout"];
  if (status >= 500) return ["Unavailable", "server_error"];
  return ["InvalidInput", `http_${status}`];
}

function codeOf(error: Error): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : "";
}

function headerOf(error: Error, name: string): string | undefined {
  const { response } = error as { response?: { headers?: unknown } };
  const headers = response?.headers;
  if (headers instanceof Headers) return headers.get(name) ?? undefined;
  return (headers as Record<string, string> | undefined)?.[name];
}

/** Shortens a message: the client may put whole HTML pages into it. */
function firstLine(message: string): string {
  return message.split("\n", 1)[0].slice(0, 300);
}
