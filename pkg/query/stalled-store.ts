/**
 * Stored spans with a time limit: a query still returns live spans in time when the bucket does not
 * respond.
 *
 * The query keeps waiting while responses arrive. When none arrived for `stallMs`, or when the
 * query has run for `totalMs`, all requests in flight fail, and later requests fail at once.
 * Otherwise each wave of a search would wait for the limit again.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { StoredSpans } from "#pkg/questions/questions.ts";

export interface StallOptions {
  /** Milliseconds without any response. */
  stallMs: number;
  /** Milliseconds since the start of the query. */
  totalMs: number;
  /** Called once, when the query gives up waiting for stored spans. */
  onStall?: () => void;
}

/** Reason of failures caused by the time limit. */
export const storeStalled = "store_stalled";

/** Wraps `stored` for one query. The caller must call `done` at the end of the query. */
export function withStallLimit(
  stored: StoredSpans,
  options: StallOptions,
): { stored: StoredSpans; done: () => void } {
  const watch = new StallWatch(options);
  const own: StoredSpans = {
    snapshot: (tenant, minVersion, signal) =>
      watch.during((both) => stored.snapshot(tenant, minVersion, both), signal),
    ask: (question, asks, signal) =>
      watch.during((both) => stored.ask(question, asks, both), signal),
    mayHold: (block, ids, signal) =>
      watch.during((both) => stored.mayHold(block, ids, both), signal),
    indexedTags: (blocks, request, signal) =>
      watch.during((both) => stored.indexedTags(blocks, request, both), signal),
  };
  return { stored: own, done: () => watch.done() };
}

class StallWatch {
  readonly #options: StallOptions;
  readonly #stalled = new AbortController();
  readonly #total: NodeJS.Timeout;
  #stall: NodeJS.Timeout | undefined;
  readonly #signals = new WeakMap<AbortSignal, AbortSignal>();
  #inFlight = 0;

  constructor(options: StallOptions) {
    this.#options = options;
    this.#total = setTimeout(() => this.#giveUp(options.totalMs), options.totalMs);
    this.#total.unref();
  }

  done(): void {
    clearTimeout(this.#total);
    clearTimeout(this.#stall);
  }

  /** Runs a store request. Throws Unavailable `store_stalled`, or the request's own error. */
  async during<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const { signal: stalled } = this.#stalled;
    stalled.throwIfAborted();
    const given = Promise.withResolvers<never>();
    const onStall = (): void => given.reject(stalled.reason as Error);
    stalled.addEventListener("abort", onStall, { once: true });
    if (this.#inFlight++ === 0) this.#wait();
    try {
      const asked = work(this.#both(signal));
      const answer = await Promise.race([asked, given.promise]);
      this.#stall?.refresh();
      return answer;
    } catch (error) {
      // Requests that fail because of the abort all report the same error.
      if (stalled.aborted && !signal.aborted) throw stalled.reason;
      throw error;
    } finally {
      stalled.removeEventListener("abort", onStall);
      if (--this.#inFlight === 0) clearTimeout(this.#stall);
    }
  }

  /** Returns one combined signal per `signal`: a search checks thousands of bloom filters. */
  #both(signal: AbortSignal): AbortSignal {
    let both = this.#signals.get(signal);
    if (both === undefined) {
      both = AbortSignal.any([signal, this.#stalled.signal]);
      this.#signals.set(signal, both);
    }
    return both;
  }

  /** Starts the stall timer; called when the first request is in flight. */
  #wait(): void {
    clearTimeout(this.#stall);
    const { stallMs } = this.#options;
    this.#stall = setTimeout(() => this.#giveUp(stallMs), stallMs);
    this.#stall.unref();
  }

  #giveUp(ms: number): void {
    if (this.#stalled.signal.aborted) return;
    const message = `the bucket did not answer within ${ms / 1000} s`;
    const error = new SpoorError("Unavailable", message, { reason: storeStalled });
    this.#options.onStall?.();
    this.#stalled.abort(error);
  }
}
