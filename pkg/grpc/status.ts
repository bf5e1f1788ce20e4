/**
 * How a failed call is told: a code, a text, and a google.rpc.Status with details. OTLP says the
 * same in the bodies of HTTP.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Any, AnySchema, anyUnpack, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { errorTable, SpoorError } from "#pkg/errors/errors.ts";
import { ErrorInfoSchema, RetryInfoSchema, StatusSchema } from "#pkg/pb/google/rpc/status_pb.ts";

/** The codes that Spoor itself gives or waits for: https://grpc.io/docs/guides/status-codes/ */
export const grpcStatus = {
  ok: 0,
  invalidArgument: 3,
  notFound: 5,
  resourceExhausted: 8,
  unimplemented: 12,
  unavailable: 14,
} as const;

/** The parts of a google.rpc.Status. */
export interface Status {
  code: number;
  message: string;
  /** In a RetryInfo: the client may try again, not before. Milliseconds. */
  retryAfterMs?: number;
  /** In an ErrorInfo: a short stable word. */
  reason?: string;
}

const typeUrlPrefix = "type.googleapis.com/";
export const errorInfoUrl: string = typeUrlPrefix + ErrorInfoSchema.typeName;
export const retryInfoUrl: string = typeUrlPrefix + RetryInfoSchema.typeName;
/** Who gives the reasons in an ErrorInfo. */
export const errorDomain = "spoor";
/** Longer messages are cut: answers stay far below the clients' limits. */
const messageCharsMax = 4096;
const reasonPattern = /^[a-zA-Z0-9_.-]{1,64}$/;

/** The one mapping of errors to what gRPC says. */
export function statusOf(error: SpoorError): Status {
  const { grpcStatus } = errorTable[error.code];
  const { message, retryAfterMs, reason } = error;
  return { code: grpcStatus, message, retryAfterMs, reason };
}

/** google.rpc.Status: with an ErrorInfo, and a RetryInfo if the client may try again later. */
export function encodeStatus({ code, message, retryAfterMs, reason }: Status): Uint8Array {
  const details: Any[] = [];
  if (reason !== undefined) {
    const info = create(ErrorInfoSchema, { reason, domain: errorDomain });
    details.push(anyOf(errorInfoUrl, toBinary(ErrorInfoSchema, info)));
  }
  if (retryAfterMs !== undefined) {
    const info = create(RetryInfoSchema, { retryDelay: durationFromMs(Math.ceil(retryAfterMs)) });
    details.push(anyOf(retryInfoUrl, toBinary(RetryInfoSchema, info)));
  }
  const status = create(StatusSchema, { code, message: cutMessage(message), details });
  return toBinary(StatusSchema, status);
}

function anyOf(typeUrl: string, value: Uint8Array): Any {
  return create(AnySchema, { typeUrl, value });
}

/** Reads a google.rpc.Status. Throws InvalidInput. Details of other kinds are skipped. */
export function readStatus(bytes: Uint8Array): Status {
  try {
    const { code, message, details } = fromBinary(StatusSchema, bytes);
    const status: Status = { code, message };
    for (const detail of details) {
      const delay = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
      if (delay !== undefined) status.retryAfterMs = durationMs(delay);
      const reason = anyUnpack(detail, ErrorInfoSchema)?.reason;
      if (reason !== undefined && reasonPattern.test(reason)) status.reason = reason;
    }
    return status;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const reason = "invalid_protobuf";
    throw new SpoorError("InvalidInput", `not a google.rpc.Status: ${why}`, { cause, reason });
  }
}

/** A message that is short enough for an answer. */
export function cutMessage(message: string): string {
  return message.length > messageCharsMax ? `${message.slice(0, messageCharsMax)}…` : message;
}
