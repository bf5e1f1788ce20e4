// HOT: runs per request; measured by `npm run bench` (receive).
/**
 * Frames of gRPC messages (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
 *
 *     byte 0       1 = compressed
 *     bytes 1-4    length, big-endian
 *     bytes 5-     message
 */
import { SpoorError } from "#pkg/errors/errors.ts";

const headBytes = 5;

export interface Frame {
  isCompressed: boolean;
  bytes: Uint8Array;
}

/** Counts the bytes held by a reader. On a server it is an `Admission`. */
export interface ByteBudget {
  /** Called for each chunk, from the first on. Throws LimitExceeded. */
  lease(): { resize(bytes: number): void };
}

/** Assembles the message of a unary request or response from chunks of any size. */
export class MessageReader {
  #bytesMax: number;
  #budget: ByteBudget;
  #head: Buffer = Buffer.alloc(headBytes);
  #headSize = 0;
  #body: Buffer | undefined;
  #bodySize = 0;
  #length = 0;

  constructor(bytesMax: number, budget: ByteBudget) {
    this.#bytesMax = bytesMax;
    this.#budget = budget;
  }

  /** Adds a chunk. Throws TooLarge, LimitExceeded, InvalidInput (more than one message). */
  push(chunk: Buffer): void {
    const lease = this.#budget.lease();
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

  /** Returns the message after the last chunk. Throws InvalidInput if it is incomplete. */
  finish(): Frame {
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

  /** Grows with received, not announced bytes: a frame head alone must not allocate memory. */
  #append(chunk: Buffer, pos: number, lease: ReturnType<ByteBudget["lease"]>): void {
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

/** Returns a frame with an uncompressed message. */
export function frameMessage(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, headBytes);
  return frame;
}
