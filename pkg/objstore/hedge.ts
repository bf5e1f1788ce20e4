/**
 * Asks a second time for a range that takes longer than most, and takes the answer that comes
 * first. Buckets have slow moments that the next request does not meet. The share of second
 * requests is bounded, so that a store that is slow as a whole is not asked twice as much.
 */
import type { StoreLedger } from "./ledger.ts";
import type { ObjectStore, ReadOptions } from "./objstore.ts";
import { PassingStore } from "./passing.ts";

export interface HedgeOptions {
  /** Second requests per first one, on average. 0: none. */
  share: number;
  /** Never sooner than this. */
  delayMinMs: number;
  ledger: StoreLedger;
}

/** Latencies of the last calls, of which the delay is a percentile. */
const samplesMax = 256;
const samplesMin = 16;
const percentile = 0.95;
/** Second requests that may come at once after a quiet time. */
const burst = 4;

export function hedgeStore(store: ObjectStore, options: HedgeOptions): ObjectStore {
  return options.share === 0 ? store : new HedgingStore(store, options);
}

class HedgingStore extends PassingStore {
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
    const ask = (): Promise<Uint8Array> => {
      const abort = new AbortController();
      const { signal } = abort;
      const asked = { ...options, signal, into: undefined };
      const call = this.store.getRange(key, start, end, asked);
      racers.set(abort, call);
      return call;
    };
    const forward = (): void => racers.forEach((_, abort) => abort.abort(options.signal?.reason));
    options.signal?.addEventListener("abort", forward, { once: true });
    const first = ask();
    const timer = this.#later(first, ask);
    try {
      const bytes = await timer.race;
      this.#note(performance.now() - startMs);
      return bytes;
    } finally {
      timer.stop();
      options.signal?.removeEventListener("abort", forward);
      for (const [abort, call] of racers) {
        abort.abort();
        call.catch(() => "the other one has answered");
      }
    }
  }

  /** The first answer; the second request starts if the first is late and the budget allows. */
  #later(
    first: Promise<Uint8Array>,
    ask: () => Promise<Uint8Array>,
  ): { race: Promise<Uint8Array>; stop: () => void } {
    const { ledger } = this.#options;
    if (this.#delayMs === Infinity) return { race: first, stop: () => undefined };
    const winner = Promise.withResolvers<Uint8Array>();
    let isAlone = true;
    // An error of one of two is not the answer while the other may still come.
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
      ask().then((bytes) => {
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
