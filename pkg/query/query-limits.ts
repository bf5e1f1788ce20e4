/** Limits of one query: the bytes that it reads from the store, and its time range. */
import type { TimeRange } from "#pkg/api/api.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Limits } from "#pkg/limits/limits.ts";
import type { StoredSpans } from "#pkg/questions/questions.ts";

/** Throws InvalidInput `query_range` if the range exceeds the tenant's limit. */
export function checkRange({ startNano, endNano }: TimeRange, { queryRangeMs }: Limits): void {
  if (queryRangeMs === 0 || endNano - startNano <= BigInt(queryRangeMs) * 1_000_000n) return;
  const message = `the time range is longer than ${queryRangeMs / 1000} s: narrow it`;
  throw new SpoorError("InvalidInput", message, { reason: "query_range" });
}

/**
 * Wraps `stored` for one query that may read `bytesMax` bytes of blocks. Bytes are counted after a
 * read, so reads in flight can exceed the limit.
 */
export function withByteBudget(stored: StoredSpans, bytesMax: number): StoredSpans {
  const budget = new ByteBudget(bytesMax);
  return {
    snapshot: (...args) => stored.snapshot(...args),
    mayHold: (...args) => stored.mayHold(...args),
    ask: (...args) => budget.spend(() => stored.ask(...args)),
    indexedTags: (...args) => budget.spend(() => stored.indexedTags(...args)),
  };
}

class ByteBudget {
  readonly #bytesMax: number;
  #spentBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Throws InvalidInput `query_bytes` if more than the budget was read. */
  check(): void {
    if (this.#spentBytes <= this.#bytesMax) return;
    const message =
      `the query reads more than ${this.#bytesMax} bytes: ` +
      "narrow its range or its condition, or ask for fewer traces";
    throw new SpoorError("InvalidInput", message, { reason: "query_bytes" });
  }

  async spend<T extends { readBytes: number }>(work: () => Promise<T>): Promise<T> {
    this.check();
    const result = await work();
    this.#spentBytes += result.readBytes;
    this.check();
    return result;
  }
}
