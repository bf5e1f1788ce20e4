/**
 * Encodes responses of the receivers: ExportTraceServiceResponse on success, google.rpc.Status
 * otherwise, as protobuf or JSON. https://opentelemetry.io/docs/specs/otlp/
 */
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import type { PushResult } from "#pkg/api/api.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  cutMessage,
  encodeStatus,
  errorDomain,
  errorInfoUrl,
  retryInfoUrl,
  type Status,
} from "#pkg/grpc/grpc.ts";
import { ExportTraceServiceResponseSchema } from "#pkg/pb/otlp/export_pb.ts";

export type BodyFormat = "protobuf" | "json";

const emptyBytes = new Uint8Array();

/** Encodes an ExportTraceServiceResponse. Full success is an empty message, or `{}`. */
export function encodeResponse(result: PushResult, format: BodyFormat): Uint8Array | string {
  const { rejectedSpans } = result;
  const message = cutMessage(result.rejectedMessage);
  if (rejectedSpans === 0 && message === "") return format === "json" ? "{}" : emptyBytes;
  const response = create(ExportTraceServiceResponseSchema, {
    partialSuccess: { rejectedSpans: BigInt(rejectedSpans), errorMessage: message },
  });
  return format === "json"
    ? toJsonString(ExportTraceServiceResponseSchema, response)
    : toBinary(ExportTraceServiceResponseSchema, response);
}

/** Encodes a google.rpc.Status, with an ErrorInfo, and a RetryInfo if the client may retry. */
export function encodeError(status: Status, format: BodyFormat): Uint8Array | string {
  return format === "json" ? statusJson(status) : encodeStatus(status);
}

function statusJson({ code, message, retryAfterMs, reason }: Status): string {
  const details: object[] = [];
  if (reason !== undefined) details.push({ "@type": errorInfoUrl, reason, domain: errorDomain });
  if (retryAfterMs !== undefined) {
    details.push({ "@type": retryInfoUrl, retryDelay: `${retryAfterMs / 1000}s` });
  }
  const shown = cutMessage(message);
  return JSON.stringify({ code, message: shown, ...(details.length > 0 && { details }) });
}

/**
 * Returns the error for the client. LimitExceeded and Unavailable always have a time to retry,
 * since OTLP/gRPC clients drop the spans otherwise. Errors that a retry cannot cure have none. The
 * message of an internal error is replaced.
 */
export function answerFor(error: SpoorError, retryAfterMs: number): SpoorError {
  const { code, reason } = error;
  if (code === "Internal" || code === "Corrupt") {
    return new SpoorError(code, "the request could not be stored, see the server's log", {
      reason,
      cause: error,
    });
  }
  const waits = code === "LimitExceeded" || code === "Unavailable";
  const wanted = waits ? Math.ceil(error.retryAfterMs ?? retryAfterMs) : undefined;
  if (wanted === error.retryAfterMs) return error;
  return new SpoorError(code, error.message, { reason, cause: error, retryAfterMs: wanted });
}
