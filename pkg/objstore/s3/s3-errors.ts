/** Maps errors of an S3 server, the SDK and the network to SpoorErrors. */
import {
  type ErrorCode,
  foreignReason,
  type Reason,
  SpoorError,
  toSpoorError,
} from "#pkg/errors/errors.ts";
import { checkSignal, notFound } from "#pkg/objstore/checks.ts";
import { networkError, retryAfterMs } from "#pkg/objstore/net-errors.ts";

/** The fields of the SDK's errors that are used here; the SDK throws many classes. */
interface S3Failure {
  name: string;
  message: string;
  status: number | undefined;
  headers: Readonly<Record<string, string | undefined>>;
  /** Region that the server named in a redirect. */
  region: string | undefined;
}

/** S3 error codes (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html). */
const knownErrors: Readonly<Record<string, readonly [ErrorCode, Reason]>> = {
  NoSuchBucket: ["InvalidInput", "bucket_missing"],
  InvalidBucketName: ["InvalidInput", "bucket_missing"],
  InvalidAccessKeyId: ["InvalidInput", "wrong_credentials"],
  SignatureDoesNotMatch: ["InvalidInput", "wrong_credentials"],
  InvalidToken: ["InvalidInput", "wrong_credentials"],
  ExpiredToken: ["InvalidInput", "wrong_credentials"],
  CredentialsProviderError: ["InvalidInput", "no_credentials"],
  TokenProviderError: ["InvalidInput", "no_credentials"],
  AccessDenied: ["InvalidInput", "access_denied"],
  AllAccessDisabled: ["InvalidInput", "access_denied"],
  AccountProblem: ["InvalidInput", "access_denied"],
  RequestTimeTooSkewed: ["InvalidInput", "clock_skew"],
  RequestExpired: ["InvalidInput", "clock_skew"],
  AuthorizationHeaderMalformed: ["InvalidInput", "wrong_region"],
  IllegalLocationConstraintException: ["InvalidInput", "wrong_region"],
  PermanentRedirect: ["InvalidInput", "wrong_region"],
  InvalidStorageClass: ["InvalidInput", "storage_class"],
  KeyTooLongError: ["InvalidInput", "key_too_long"],
  XMinioObjectExistsAsDirectory: ["InvalidInput", "key_is_folder"],
  XMinioParentIsObject: ["InvalidInput", "key_is_folder"],
  NotImplemented: ["InvalidInput", "not_implemented"],
  MissingContentMD5: ["InvalidInput", "checksum_refused"],
  EntityTooLarge: ["TooLarge", "object_too_large"],
  SlowDown: ["Unavailable", "slow_down"],
  SlowDownRead: ["Unavailable", "slow_down"],
  SlowDownWrite: ["Unavailable", "slow_down"],
  XMinioServerNotInitialized: ["Unavailable", "not_ready"],
  ServiceUnavailable: ["Unavailable", "slow_down"],
  TooManyRequests: ["Unavailable", "slow_down"],
  RequestLimitExceeded: ["Unavailable", "slow_down"],
  ConditionalRequestConflict: ["Unavailable", "write_conflict"],
  OperationAborted: ["Unavailable", "write_conflict"],
  BadDigest: ["Unavailable", "checksum_mismatch"],
  XAmzContentChecksumMismatch: ["Unavailable", "checksum_mismatch"],
  XMinioStorageFull: ["Unavailable", "disk_full"],
  QuotaExceeded: ["Unavailable", "disk_full"],
  RequestTimeout: ["Timeout", "request_timeout"],
  TimeoutError: ["Timeout", "request_timeout"],
};

const hints: Readonly<Record<string, string>> = {
  bucket_missing: "the bucket does not exist",
  wrong_credentials: "the credentials are not valid",
  no_credentials: "no credentials were found",
  access_denied: "the credentials do not allow it",
  clock_skew: "this machine's clock is too far from the server's",
  wrong_region: "the bucket is in another region",
  checksum_refused:
    "the server refuses the checksum of the request, try storage.s3.checksums: when_required",
};

/**
 * Maps an error of `attempt` ("read object a/b") to a SpoorError. `context.key` is the object that
 * a status of 404 refers to; lists have none.
 */
export function s3Error(error: unknown, attempt: string, context: S3Context = {}): SpoorError {
  if (error instanceof SpoorError) return error;
  try {
    checkSignal(context.signal, attempt);
  } catch (aborted) {
    return toSpoorError(aborted);
  }
  if (!(error instanceof Error)) return toSpoorError(error);
  const failure = failureOf(error);
  if (isAboutChecksums(failure)) {
    return describe(failure, ["InvalidInput", "checksum_refused"], { attempt, cause: error });
  }
  const known = knownErrors[failure.name] as (typeof knownErrors)[string] | undefined;
  if (known !== undefined) return describe(failure, known, { attempt, cause: error });
  if (context.key !== undefined && failure.status === 404) return notFound(context.key, error);
  const network = networkError(error, attempt);
  if (network !== undefined) return network;
  return describe(failure, byStatus(failure), { attempt, cause: error });
}

/** Old servers reject unknown checksums, or their headers, with many different messages. */
function isAboutChecksums({ name, message, status }: S3Failure): boolean {
  const isRefusal = status === 400 || status === 501;
  const isMismatch = knownErrors[name]?.[1] === "checksum_mismatch";
  const words = /checksum|content-?md5|x-amz-trailer|functionality that is not implemented/i;
  return isRefusal && !isMismatch && words.test(`${name} ${message}`);
}

export interface S3Context {
  key?: string;
  signal?: AbortSignal;
}

/** Returns the HTTP status of an error response that the SDK threw. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof Error ? failureOf(error).status : undefined;
}

function byStatus({ status, name }: S3Failure): readonly [ErrorCode, Reason] {
  if (status === undefined) return ["Internal", "sdk_error"];
  if (status === 301 || status === 307) return ["InvalidInput", "wrong_region"];
  if (status === 401 || status === 403) return ["InvalidInput", "access_denied"];
  if (status === 404) return ["InvalidInput", "bucket_missing"];
  if (status === 429 || status === 503) return ["Unavailable", "slow_down"];
  if (status === 507) return ["Unavailable", "disk_full"];
  if (status === 504) return ["Timeout", "gateway_timeout"];
  if (status >= 500) return ["Unavailable", "server_error"];
  return ["InvalidInput", /^\w{1,60}$/u.test(name) ? foreignReason(snake(name)) : `http_${status}`];
}

function describe(
  failure: S3Failure,
  [code, reason]: readonly [ErrorCode, Reason],
  { attempt, cause }: { attempt: string; cause: Error },
): SpoorError {
  const { name, message, status, region } = failure;
  const hint = hints[reason] as string | undefined;
  const parts = [hint, region === undefined ? undefined : `its region is ${region}`];
  const words = parts.filter((part) => part !== undefined).join(", ");
  const from = `${name}${status === undefined ? "" : ` ${status}`}: ${message}`;
  const text = words === "" ? from : `${words} (${from})`;
  return new SpoorError(code, `${attempt}: ${text}`, {
    reason,
    cause,
    retryAfterMs: retryAfterMs(failure.headers["retry-after"]),
  });
}

function failureOf(error: Error): S3Failure {
  const fields = error as Error & {
    Region?: string;
    Code?: string;
    $metadata?: { httpStatusCode?: number };
    $response?: { statusCode?: number; headers?: Record<string, string> };
  };
  const headers = fields.$response?.headers ?? {};
  return {
    name: fields.Code ?? error.name,
    message: error.message,
    status: fields.$metadata?.httpStatusCode ?? fields.$response?.statusCode,
    headers,
    region: fields.Region ?? headers["x-amz-bucket-region"],
  };
}

function snake(name: string): string {
  return name.replaceAll(/\B[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}
