/**
 * A client that waits for the advised delay must be admitted. Rounding can leave it a fraction of a
 * token short, so `take` tolerates this share of the needed amount.
 */
const roundingShare = 1e-9;

/**
 * A token bucket: a rate with a burst. An amount above the burst is admitted if the bucket is full,
 * and leaves a debt. So no amount is refused for ever, and the rate holds over time.
 *
 *     free:  burst |■■■■■■■■■■|            after taking more than the burst:
 *            0     |              debt:    -|■■■■
 */
export class TokenBucket {
  #free = Number.POSITIVE_INFINITY;
  #atMs = 0;

  /**
   * Takes `amount` tokens and returns 0, or returns the milliseconds until they are available. Rate
   * and burst may change between calls.
   */
  take(amount: number, rate: { perSecond: number; burst: number }, nowMs: number): number {
    const burst = Math.max(1, rate.burst);
    const elapsedMs = Math.max(0, nowMs - this.#atMs);
    this.#free = Math.min(burst, this.#free + (elapsedMs / 1000) * rate.perSecond);
    this.#atMs = nowMs;
    const needed = Math.min(amount, burst);
    if (this.#free >= needed * (1 - roundingShare)) {
      this.#free -= amount;
      return 0;
    }
    return Math.ceil(((needed - this.#free) / rate.perSecond) * 1000);
  }

  /** Returns whether the bucket is full, and therefore equivalent to a new one. */
  isFull(rate: { perSecond: number; burst: number }, nowMs: number): boolean {
    return this.#free + ((nowMs - this.#atMs) / 1000) * rate.perSecond >= rate.burst;
  }
}
