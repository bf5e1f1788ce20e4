/**
 * Hedges slow reads: a range that takes longer than most is requested a second time, and the first
 * response wins. Buckets have slow moments that the next request does not hit. The share of second
 * requests is bounded, so that a store that is slow as a whole does not get twice the load.
 */
import type { StoreLedger } from "#pkg/objstore/ledger.ts";
import type { ObjectStore, ReadOptions } from "#pkg/objstore/object-store.ts";
import { ForwardingStore } from "./passing.ts";

export interface HedgeOptions {
  /** Second requests per first request, on average. 0 disables hedging. */
  share: number;
  /** Minimum delay of a second request. */
  delayMinMs: number;
  ledger: StoreLedger;
}

/** Number of recent latencies that are kept; the delay is a percentile of them. */
const samplesMax = 256;
const samplesMin = 16;
const percentile = 0.95;
/** Second requests that are allowed at once after an idle time. */
const burst = 4;

export function hedgeStore(store: ObjectStore, options: HedgeOptions): ObjectStore {
  return options.share === 0 ? store : new HedgingStore(store, options);
}

class HedgingStore extends ForwardingStore {
  readonly #options: HedgeOptions;
  readonly #samples: number[] = [];
  #nextSample = 0;
  #delayMs = Infinity;
  #budget = burst;

  constructor(store: ObjectStore, options: HedgeOptions) {
    super(store);
    this.#options = options;
  }

  override async getRange(
    key: string,
    start: number,
    end: number,
    options: ReadOptions = {},
  ): Promise<Uint8Array> {
    if (options.signal?.aborted) return await this.store.getRange(key, start, end, options);
    this.#budget = Math.min(burst, this.#budget + this.#options.share);
    const startMs = performance.now();
    const racers = new Map<AbortController, Promise<Uint8Array>>();
    const request = (): Promise<Uint8Array> => {
      const abort = new AbortController();
      const { signal } = abort;
      const rangeOptions = { ...options, signal, into: undefined };
      const call = this.store.getRange(key, start, end, rangeOptions);
      racers.set(abort, call);
      return call;
    };
    const forward = (): void => racers.forEach((_, abort) => abort.abort(options.signal?.reason));
    options.signal?.addEventListener("abort", forward, { once: true });
    const first = request();
    const timer = this.#later(first, request);
    try {
      const bytes = await timer.race;
      this.#note(performance.now() - startMs);
      return bytes;
    } finally {
      timer.stop();
      options.signal?.removeEventListener("abort", forward);
      for (const [abort, call] of racers) {
        abort.abort();
        call.catch(ignoreLoserError);
      }
    }
  }

  /**
   * Returns the first response. Starts the second request if the first is late and the budget
   * allows.
   */
  #later(
    first: Promise<Uint8Array>,
    request: () => Promise<Uint8Array>,
  ): { race: Promise<Uint8Array>; stop: () => void } {
    const { ledger } = this.#options;
    if (this.#delayMs === Infinity) return { race: first, stop: () => undefined };
    const winner = Promise.withResolvers<Uint8Array>();
    let isAlone = true;
    // With two requests in flight, the error of one is not final: the other may succeed.
    let failures = 0;
    const onError = (error: unknown): void => {
      failures++;
      if (isAlone || failures === 2) winner.reject(error);
    };
    first.then(winner.resolve, onError);
    const timer = setTimeout(() => {
      if (this.#budget < 1) return;
      this.#budget--;
      isAlone = false;
      ledger.addEvent("hedge");
      request().then((bytes) => {
        ledger.addEvent("hedgeWon");
        winner.resolve(bytes);
      }, onError);
    }, this.#delayMs);
    return { race: winner.promise, stop: () => clearTimeout(timer) };
  }

  #note(tookMs: number): void {
    this.#samples[this.#nextSample] = tookMs;
    this.#nextSample = (this.#nextSample + 1) % samplesMax;
    if (this.#samples.length < samplesMin || this.#nextSample % samplesMin !== 0) return;
    const sorted = this.#samples.toSorted((a, b) => a - b);
    const late = sorted[Math.floor(sorted.length * percentile)];
    this.#delayMs = Math.max(this.#options.delayMinMs, late);
  }
}

/** The other request has won, or the caller has the error of its own request. */
function ignoreLoserError(): void {}
