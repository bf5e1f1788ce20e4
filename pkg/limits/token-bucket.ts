/**
 * Who comes back when told has as much as was missing, but for the rounding of the sums since:
 * far more than they can lose, far less than anybody notices.
 */
const roundingShare = 1e-9;

/**
 * A rate with a burst. What is larger than the burst passes when nothing is owed, and is owed
 * afterwards: so nothing is refused for ever, and the rate holds over time.
 *
 *     free:  burst |■■■■■■■■■■|            after taking more than there is:
 *            0     |              owed:    -|■■■■
 */
export class TokenBucket {
  #free = Number.POSITIVE_INFINITY;
  #atMs = 0;

  /**
   * Takes `amount` if there is room. Returns 0, or how many milliseconds later there will be.
   * Rate and burst may change from call to call.
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

  /** Whether nothing was taken lately: a new bucket would be the same. */
  isFull(rate: { perSecond: number; burst: number }, nowMs: number): boolean {
    return this.#free + ((nowMs - this.#atMs) / 1000) * rate.perSecond >= rate.burst;
  }
}
