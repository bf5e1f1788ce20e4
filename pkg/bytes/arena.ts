/**
 * An arena for arrays that live as long as one query: they are allocated one after the other from
 * one buffer and freed all at once. Separate short-lived large arrays would make the garbage
 * collector run every few milliseconds.
 *
 *     | codes | words | bytes |  free ...   |
 *                             ^ next          reset: next = 0
 *
 * Allocated arrays are not zeroed. No array may be used after `reset`.
 */

/** Maximum size of the buffer, bytes; an array that does not fit is allocated separately. */
const keptBytesMax = 32 * 1024 * 1024;

export class Arena {
  #buffer = new ArrayBuffer(0);
  #next = 0;
  /** Bytes requested since the last reset, including those that did not fit. */
  #wantedBytes = 0;

  /** Frees all arrays. Grows the buffer if the last requests did not fit. */
  reset(): void {
    if (this.#wantedBytes > this.#buffer.byteLength && this.#buffer.byteLength < keptBytesMax) {
      this.#buffer = new ArrayBuffer(Math.min(keptBytesMax, this.#wantedBytes * 2));
    }
    this.#next = 0;
    this.#wantedBytes = 0;
  }

  int32(length: number): Int32Array {
    const at = this.#take(length * 4);
    return at < 0 ? new Int32Array(length) : new Int32Array(this.#buffer, at, length);
  }

  float64(length: number): Float64Array {
    const at = this.#take(length * 8);
    return at < 0 ? new Float64Array(length) : new Float64Array(this.#buffer, at, length);
  }

  uint8(length: number): Uint8Array {
    const at = this.#take(length);
    return at < 0 ? new Uint8Array(length) : new Uint8Array(this.#buffer, at, length);
  }

  /** Allocates bytes; returns their position, a multiple of 8, or -1 if they do not fit. */
  #take(sizeBytes: number): number {
    const rounded = (sizeBytes + 7) & ~7;
    this.#wantedBytes += rounded;
    if (sizeBytes > keptBytesMax || this.#next + rounded > this.#buffer.byteLength) return -1;
    const at = this.#next;
    this.#next += rounded;
    return at;
  }
}
