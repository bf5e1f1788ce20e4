/** Headers and trailers of gRPC: deadlines, content types, and the status of a call. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { encodeStatus, readStatus, type Status } from "./status.ts";

/** Trailers must fit into the limits for headers. The details have a longer message. */
const messageCharsMax = 1024;
/** A `grpc-timeout` has at most eight digits. */
const timeoutMax = 99_999_999;
const unitMs: Readonly<Record<string, number>> = {
  H: 3.6e6,
  M: 6e4,
  S: 1e3,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** Header names to values, as in node:http2. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>;

/**
 * Parses a `grpc-timeout` ("100m", "5S"). Returns milliseconds; Infinity without a header. Throws
 * InvalidInput.
 */
export function parseTimeout(header: string | undefined): number {
  if (header === undefined) return Number.POSITIVE_INFINITY;
  const match = /^(\d{1,8})([HMSmun])$/.exec(header);
  if (match === null) {
    throw new SpoorError("InvalidInput", `malformed grpc-timeout ${JSON.stringify(header)}`, {
      reason: "grpc_timeout",
    });
  }
  return Number(match[1]) * unitMs[match[2]];
}

/** Formats milliseconds as a `grpc-timeout`, rounded up. */
export function formatTimeout(timeoutMs: number): string {
  for (const unit of ["m", "S", "M"]) {
    const count = Math.ceil(timeoutMs / unitMs[unit]);
    if (count <= timeoutMax) return `${count}${unit}`;
  }
  return `${Math.min(timeoutMax, Math.ceil(timeoutMs / unitMs.H))}H`;
}

/** Returns whether a content type is gRPC with protobuf. */
export function isGrpc(contentType: string | undefined): boolean {
  const [type] = (contentType ?? "").toLowerCase().split(";", 1);
  return type.trim() === "application/grpc" || type.trim() === "application/grpc+proto";
}

/** Returns the trailers of a failed call. */
export function statusTrailers(status: Status): Record<string, string> {
  return {
    "grpc-status": String(status.code),
    "grpc-message": percentEncode(status.message.slice(0, messageCharsMax)),
    "grpc-status-details-bin": Buffer.from(encodeStatus(status)).toString("base64"),
  };
}

/** Reads a call's status from its trailers, or its only headers; undefined if there is none. */
export function readTrailers(headers: Headers): Status | undefined {
  const code = headers["grpc-status"];
  if (typeof code !== "string" || !/^\d{1,9}$/.test(code)) return undefined;
  const message = percentDecode(String(headers["grpc-message"] ?? ""));
  return { ...detailsOf(headers), code: Number(code), message };
}

function detailsOf(headers: Headers): Partial<Status> {
  const details = headers["grpc-status-details-bin"];
  if (typeof details !== "string") return {};
  try {
    const { retryAfterMs, reason } = readStatus(Buffer.from(details, "base64"));
    return {
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      ...(reason !== undefined && { reason }),
    };
  } catch {
    // The code is enough: unknown details are ignored.
    return {};
  }
}

/** Encodes bytes outside of printable ASCII, and `%`, as %XX of their UTF-8. */
function percentEncode(text: string): string {
  return text.replaceAll(/[^\x20-\x24\x26-\x7e]+/g, (part) =>
    [...Buffer.from(part, "utf8")]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)
      .join(""),
  );
}

function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
