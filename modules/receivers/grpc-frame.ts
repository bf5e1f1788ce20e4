/**
 * gRPC over HTTP/2: message frames, timeouts, status metadata
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Only what a unary server needs.
 *
 *     byte 0       1 = compressed
 *     bytes 1-4    length, big-endian
 *     bytes 5-     message
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import { encodeStatus, type Status } from "#pkg/grpc/status.ts";
import type { Admission, Lease } from "#pkg/listen/in-flight.ts";

const headBytes = 5;

export interface GrpcMessage {
  isCompressed: boolean;
  bytes: Uint8Array;
}

/** Puts the one message of a unary request together from chunks of any size. */
export class MessageReader {
  #bytesMax: number;
  #admission: Admission;
  #head: Buffer = Buffer.alloc(headBytes);
  #headSize = 0;
  #body: Buffer | undefined;
  #bodySize = 0;
  #length = 0;

  constructor(bytesMax: number, admission: Admission) {
    this.#bytesMax = bytesMax;
    this.#admission = admission;
  }

  /** Takes a chunk. Throws TooLarge, LimitExceeded, InvalidInput (more than one message). */
  push(chunk: Buffer): void {
    const lease = this.#admission.lease();
    let pos = 0;
    if (this.#headSize < headBytes) {
      pos = chunk.copy(this.#head, this.#headSize);
      this.#headSize += pos;
      if (this.#headSize < headBytes) return;
      this.#readHead();
    }
    const left = chunk.length - pos;
    if (left === 0) return;
    if (this.#bodySize + left > this.#length) {
      throw new SpoorError("InvalidInput", "unary call with bytes after its message", {
        reason: "grpc_trailing_bytes",
      });
    }
    if (this.#bodySize === 0 && left === this.#length) {
      lease.resize(left);
      this.#body = chunk.subarray(pos);
    } else this.#append(chunk, pos, lease);
    this.#bodySize += left;
  }

  /** The message, when the client has sent all. Throws InvalidInput if it is not whole. */
  finish(): GrpcMessage {
    if (this.#headSize < headBytes || this.#bodySize < this.#length) {
      throw new SpoorError("InvalidInput", "call ended before its message was complete", {
        reason: "grpc_incomplete",
      });
    }
    return { isCompressed: this.#head[0] === 1, bytes: this.#body ?? new Uint8Array() };
  }

  #readHead(): void {
    if (this.#head[0] > 1) {
      throw new SpoorError("InvalidInput", `message with compression flag ${this.#head[0]}`, {
        reason: "grpc_flag",
      });
    }
    this.#length = this.#head.readUInt32BE(1);
    if (this.#length > this.#bytesMax) {
      const message = `message of ${this.#length} bytes, at most ${this.#bytesMax}`;
      throw new SpoorError("TooLarge", message, { reason: "body_too_large" });
    }
  }

  /** Grows with what came, not with what was announced: a head alone must not take memory. */
  #append(chunk: Buffer, pos: number, lease: Lease): void {
    const wanted = this.#bodySize + chunk.length - pos;
    const have = this.#body?.length ?? 0;
    if (wanted > have) {
      const size = Math.min(this.#length, Math.max(wanted, have * 4, 65_536));
      lease.resize(size);
      const grown = Buffer.allocUnsafeSlow(size);
      this.#body?.copy(grown, 0, 0, this.#bodySize);
      this.#body = grown;
    }
    chunk.copy(this.#body!, this.#bodySize, pos);
  }
}

/** A frame around an uncompressed message. */
export function frameMessage(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, headBytes);
  return frame;
}

/** Milliseconds of a `grpc-timeout` ("100m", "5S"); Infinity without one. InvalidInput if odd. */
export function parseTimeout(header: string | undefined): number {
  if (header === undefined) return Number.POSITIVE_INFINITY;
  const match = /^(\d{1,8})([HMSmun])$/.exec(header);
  if (match === null) {
    throw new SpoorError("InvalidInput", `malformed grpc-timeout ${JSON.stringify(header)}`, {
      reason: "grpc_timeout",
    });
  }
  const unitMs: Record<string, number> = { H: 3.6e6, M: 6e4, S: 1e3, m: 1, u: 1e-3, n: 1e-6 };
  return Number(match[1]) * unitMs[match[2]];
}

/** The trailers of a failed call. */
export function statusTrailers(status: Status): Record<string, string> {
  const details = encodeStatus(status);
  return {
    "grpc-status": String(status.code),
    "grpc-message": percentEncode(status.message.slice(0, 1024)),
    "grpc-status-details-bin": Buffer.from(details).toString("base64"),
  };
}

/** Bytes outside of printable ASCII, and `%`, as %XX of their UTF-8. */
function percentEncode(text: string): string {
  return text.replaceAll(/[^\x20-\x24\x26-\x7e]+/g, (part) =>
    [...Buffer.from(part, "utf8")]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)
      .join(""),
  );
}
