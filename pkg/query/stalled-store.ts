/**
 * Stored spans of one query that are given up when the bucket does not answer: live spans must be
 * answered within a stated time, whatever the bucket does.
 *
 * The query waits for stored spans as long as something of them comes: when nothing came for
 * `stallMs`, or when the query has run for `totalMs`, all that is under way fails, and all that is
 * asked later fails at once. Without that, each wave of a search would wait once more.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { StoredSpans } from "#pkg/questions/questions.ts";

export interface StallOptions {
  /** Milliseconds without any answer. */
  stallMs: number;
  /** Milliseconds since the start of the query. */
  totalMs: number;
  /** Told when stored spans were given up. */
  onStall?: () => void;
}

/** The reason of failures. */
export const storeStalled = "store_stalled";

/** The same spans for one query; `done` must be called at its end. */
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
  #underWay = 0;

  constructor(options: StallOptions) {
    this.#options = options;
    this.#total = setTimeout(() => this.#giveUp(options.totalMs), options.totalMs);
    this.#total.unref();
  }

  done(): void {
    clearTimeout(this.#total);
    clearTimeout(this.#stall);
  }

  /** Runs what asks the store. Throws Unavailable `store_stalled`, or what it throws. */
  async during<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const { signal: stalled } = this.#stalled;
    stalled.throwIfAborted();
    const given = Promise.withResolvers<never>();
    const onStall = (): void => given.reject(stalled.reason as Error);
    stalled.addEventListener("abort", onStall, { once: true });
    if (this.#underWay++ === 0) this.#wait();
    try {
      const asked = work(this.#both(signal));
      const answer = await Promise.race([asked, given.promise]);
      this.#stall?.refresh();
      return answer;
    } catch (error) {
      // What fails because it was given up is said in one way.
      if (stalled.aborted && !signal.aborted) throw stalled.reason;
      throw error;
    } finally {
      stalled.removeEventListener("abort", onStall);
      if (--this.#underWay === 0) clearTimeout(this.#stall);
    }
  }

  /** One signal per signal: a search asks thousands of bloom filters. */
  #both(signal: AbortSignal): AbortSignal {
    let both = this.#signals.get(signal);
    if (both === undefined) {
      both = AbortSignal.any([signal, this.#stalled.signal]);
      this.#signals.set(signal, both);
    }
    return both;
  }

  /** Nothing was under way: it waits from now on. */
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
