/**
 * Plans the parts of a multipart upload: the server copies long ranges; the pieces between them are
 * read and sent, joined into parts of at least the minimum size.
 *
 *     pieces   [bytes][       range of a        ][b][c][         range of d         ]
 *     parts    [  sent: 5 MiB  ][     copied     ][  sent: 5 MiB  ][     copied     ]
 *
 * Every part but the last must have 5 MiB, so a short part borrows the missing bytes from the range
 * after it. AWS copies ranges only from objects over 5 MiB. A range that ends beyond 5 MiB proves
 * that its source is long enough, without a look-up.
 */
import type { ObjectRange, Piece } from "#pkg/objstore/object-store.ts";
import { copyBytesMin, isRange, joinedBytesMax, joinPieces } from "#pkg/objstore/pieces.ts";
import { sizeOf, slicePiece } from "#pkg/objstore/pieces.ts";

export interface SentPart {
  kind: "sent";
  pieces: Piece[];
  sizeBytes: number;
}

export interface CopiedPart {
  kind: "copied";
  range: ObjectRange;
}

export type Part = SentPart | CopiedPart;

/**
 * Longest copied part, 256 MiB. The protocol allows 5 GiB, but a server sends nothing while it
 * copies, and shorter parts are copied in parallel.
 */
export const copyBytesMax: number = 256 * 1024 * 1024;

/** Returns the parts that make an object of `pieces`, in order. */
export function planParts(pieces: readonly Piece[]): Part[] {
  const plan = new Plan();
  for (const piece of joinPieces(pieces)) {
    if (isRange(piece) && isCopied(piece)) plan.copy(piece);
    else plan.send(piece);
  }
  return plan.end();
}

function isCopied(range: ObjectRange): boolean {
  return sizeOf(range) >= copyBytesMin && range.end > copyBytesMin;
}

class Plan {
  readonly #parts: Part[] = [];
  #pending: SentPart = { kind: "sent", pieces: [], sizeBytes: 0 };

  send(piece: Piece): void {
    const size = sizeOf(piece);
    for (let at = 0; at < size;) {
      if (this.#pending.sizeBytes === joinedBytesMax) this.#flush();
      const end = Math.min(size, at + joinedBytesMax - this.#pending.sizeBytes);
      this.#pending.pieces.push(slicePiece(piece, at, end));
      this.#pending.sizeBytes += end - at;
      at = end;
    }
  }

  copy(range: ObjectRange): void {
    const { sizeBytes } = this.#pending;
    const lacking = sizeBytes === 0 ? 0 : Math.max(0, copyBytesMin - sizeBytes);
    const size = sizeOf(range) - lacking;
    if (size < copyBytesMin) {
      this.send(range);
      return;
    }
    const { key, end } = range;
    const start = range.start + lacking;
    if (lacking > 0) this.send({ key, start: range.start, end: start });
    this.#flush();
    // Parts of about equal size, so that none is too short.
    const step = Math.ceil(size / Math.ceil(size / copyBytesMax));
    for (let at = start; at < end; at += step) {
      const part = { key, start: at, end: Math.min(end, at + step) };
      this.#parts.push({ kind: "copied", range: part });
    }
  }

  end(): Part[] {
    this.#flush();
    return this.#parts;
  }

  #flush(): void {
    if (this.#pending.sizeBytes > 0) this.#parts.push(this.#pending);
    this.#pending = { kind: "sent", pieces: [], sizeBytes: 0 };
  }
}
