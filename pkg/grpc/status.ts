/**
 * The status of a failed call: a code, a message, and a google.rpc.Status with details. OTLP/HTTP
 * sends a google.rpc.Status as the response body.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Any, AnySchema, anyUnpack, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { errorTable, SpoorError } from "#pkg/errors/errors.ts";
import { ErrorInfoSchema, RetryInfoSchema, StatusSchema } from "#pkg/pb/google/rpc/status_pb.ts";

/** The codes that Spoor itself sends or checks: https://grpc.io/docs/guides/status-codes/ */
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
  /** Delay before a retry, in a RetryInfo, milliseconds; without it the client must not retry. */
  retryAfterMs?: number;
  /** A short stable word, in an ErrorInfo. */
  reason?: string;
}

const typeUrlPrefix = "type.googleapis.com/";
export const errorInfoUrl: string = typeUrlPrefix + ErrorInfoSchema.typeName;
export const retryInfoUrl: string = typeUrlPrefix + RetryInfoSchema.typeName;
/** The domain of the reasons in an ErrorInfo. */
export const errorDomain = "spoor";
/** Longer messages are cut, so that responses stay far below the clients' limits. */
const messageCharsMax = 4096;
const reasonPattern = /^[a-zA-Z0-9_.-]{1,64}$/;

/** Maps an error to its gRPC status. */
export function statusOf(error: SpoorError): Status {
  const { grpcStatus } = errorTable[error.code];
  const { message, retryAfterMs, reason } = error;
  return { code: grpcStatus, message, retryAfterMs, reason };
}

/** Encodes a google.rpc.Status, with an ErrorInfo, and a RetryInfo if the client may retry. */
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

/** Decodes a google.rpc.Status. Details of other kinds are skipped. Throws InvalidInput. */
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

/** Cuts a message to 4,096 characters. */
export function cutMessage(message: string): string {
  return message.length > messageCharsMax ? `${message.slice(0, messageCharsMax)}…` : message;
}
