/** Enforces each tenant's limit of bytes per second. */
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { type Limits, TokenBucket } from "#pkg/limits/limits.ts";

/** Beyond this many tenants, those whose bucket is full again are forgotten. */
const bucketsMax = 10_000;
/** Longest retry delay sent to a client. */
const retryAfterMsMax = 60_000;

export class IngestRates {
  readonly #clock: Clock;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts a request's bytes. Throws LimitExceeded with a retry delay if the bucket is empty. */
  take(tenant: string, sizeBytes: number, limits: Limits): void {
    const { ingestBytesPerSecond: perSecond, ingestBurstBytes: burst } = limits;
    if (perSecond === 0) return;
    const rate = { perSecond, burst };
    const nowMs = this.#clock.monotonicMs();
    const waitMs = this.#bucketOf(tenant, rate, nowMs).take(sizeBytes, rate, nowMs);
    if (waitMs === 0) return;
    const message = `tenant ${tenant} sends more than ${perSecond} bytes per second`;
    const retryAfterMs = Math.min(waitMs, retryAfterMsMax);
    throw new SpoorError("LimitExceeded", message, { reason: "ingest_rate", retryAfterMs });
  }

  #bucketOf(
    tenant: string,
    rate: { perSecond: number; burst: number },
    nowMs: number,
  ): TokenBucket {
    const known = this.#buckets.get(tenant);
    if (known !== undefined) return known;
    if (this.#buckets.size >= bucketsMax) {
      for (const [name, bucket] of this.#buckets) {
        if (bucket.isFull(rate, nowMs)) this.#buckets.delete(name);
      }
    }
    const bucket = new TokenBucket();
    this.#buckets.set(tenant, bucket);
    return bucket;
  }
}
