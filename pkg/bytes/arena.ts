/**
 * Room for arrays that live as long as one question: taken one after the other from one buffer,
 * all given back at once. Large arrays that come and go make the garbage collector run every few
 * milliseconds.
 *
 *     | codes | words | bytes |  free ...   |
 *                             ^ next          reset: next = 0
 *
 * What is taken holds whatever was there before. Nothing taken may be used after `reset`.
 */

/** A buffer is kept up to this size, bytes; what does not fit is allocated for itself. */
const keptBytesMax = 32 * 1024 * 1024;

export class Arena {
  #buffer = new ArrayBuffer(0);
  #next = 0;
  /** What would have been taken if there had been room. */
  #wantedBytes = 0;

  /** Gives everything back. */
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

  /** Where the bytes begin, a multiple of 8; -1 if there is no room. */
  #take(sizeBytes: number): number {
    const rounded = (sizeBytes + 7) & ~7;
    this.#wantedBytes += rounded;
    if (sizeBytes > keptBytesMax || this.#next + rounded > this.#buffer.byteLength) return -1;
    const at = this.#next;
    this.#next += rounded;
    return at;
  }
}
