/**
 * What receivers answer: ExportTraceServiceResponse on success, google.rpc.Status otherwise, both
 * as protobuf and as JSON. https://opentelemetry.io/docs/specs/otlp/
 */
import { errorTable, SpoorError } from "#pkg/errors/errors.ts";
import { WireWriter } from "#pkg/bytes/wire-writer.ts";
import type { PushResult } from "#pkg/api/ingest.ts";

export type BodyFormat = "protobuf" | "json";

/** Longer messages are cut: answers stay far below the clients' limits. */
const messageCharsMax = 4096;
const errorInfoUrl = "type.googleapis.com/google.rpc.ErrorInfo";
/** Who gives the reasons in an ErrorInfo. */
const errorDomain = "spoor";
const retryInfoUrl = "type.googleapis.com/google.rpc.RetryInfo";

const emptyBytes = new Uint8Array();

/** ExportTraceServiceResponse. Full success is no bytes, or `{}`. */
export function encodeResponse(result: PushResult, format: BodyFormat): Uint8Array | string {
  const { rejectedSpans } = result;
  const message = cut(result.rejectedMessage);
  if (rejectedSpans === 0 && message === "") return format === "json" ? "{}" : emptyBytes;
  if (format === "json") {
    const rejected = rejectedSpans > 0 ? { rejectedSpans: String(rejectedSpans) } : {};
    const text = message === "" ? {} : { errorMessage: message };
    return JSON.stringify({ partialSuccess: { ...rejected, ...text } });
  }
  const writer = new WireWriter();
  writer.message(1, (w) => {
    if (rejectedSpans > 0) w.uint(1, rejectedSpans);
    if (message !== "") w.string(2, message);
  });
  return writer.bytes();
}

/** The parts of a google.rpc.Status. */
export interface Status {
  /** https://grpc.io/docs/guides/status-codes/ */
  code: number;
  message: string;
  retryAfterMs?: number;
  /** As in metrics and under /status/refused. */
  reason?: string;
}

export function statusOf(error: SpoorError): Status {
  const { grpcStatus } = errorTable[error.code];
  const { message, retryAfterMs, reason } = error;
  return { code: grpcStatus, message, retryAfterMs, reason };
}

/** google.rpc.Status: with an ErrorInfo, and a RetryInfo if the client may try again later. */
export function encodeStatus(status: Status, format: BodyFormat): Uint8Array | string {
  return format === "json" ? statusJson(status) : statusBytes(status);
}

function statusJson({ code, message, retryAfterMs, reason }: Status): string {
  const details: object[] = [];
  if (reason !== undefined) details.push({ "@type": errorInfoUrl, reason, domain: errorDomain });
  if (retryAfterMs !== undefined) {
    details.push({ "@type": retryInfoUrl, retryDelay: `${retryAfterMs / 1000}s` });
  }
  return JSON.stringify({ code, message: cut(message), ...(details.length > 0 && { details }) });
}

function statusBytes({ code, message, retryAfterMs: retryMs, reason }: Status): Uint8Array {
  const writer = new WireWriter();
  writer.uint(1, code);
  writer.string(2, cut(message));
  if (reason !== undefined) {
    writer.message(3, (any) => {
      any.string(1, errorInfoUrl);
      any.message(2, (info) => {
        info.string(1, reason);
        info.string(2, errorDomain);
      });
    });
  }
  if (retryMs !== undefined) {
    writer.message(3, (any) => {
      any.string(1, retryInfoUrl);
      any.message(2, (info) => {
        info.message(1, (duration) => {
          duration.uint(1, Math.floor(retryMs / 1000));
          duration.uint(2, Math.round((retryMs % 1000) * 1e6));
        });
      });
    });
  }
  return writer.bytes();
}

/**
 * The error as it is told to a client: refusals for lack of room always say when to retry, as
 * OTLP/gRPC clients drop the spans otherwise; refusals that retrying cannot cure never do. Text of
 * errors that are our own fault stays inside.
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

function cut(message: string): string {
  return message.length > messageCharsMax ? `${message.slice(0, messageCharsMax)}…` : message;
}
