/**
 * Sends generated traffic at a given rate and counts the results. A request with a retryable
 * refusal is retried after the delay that the server asked for. It keeps its slot meanwhile, so
 * back-pressure of the server slows the load down, as with SDKs.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { Latencies, type Traffic, type TrafficRequest } from "#pkg/loadgen/loadgen.ts";
import type { Sender } from "#cmd/spoor/send/sender.ts";

export interface LoadOptions {
  traffic: Traffic;
  sender: Sender;
  clock: Clock;
  /** 0: as fast as the server responds. */
  spansPerSecond: number;
  durationMs: number;
  /** Most requests in flight, including those that wait for a retry. */
  inFlightMax: number;
  /** How long requests are retried after the last one was generated. */
  drainMs: number;
  /** Ends the load early; requests in flight are still retried. */
  signal: AbortSignal;
}

/** The results so far. */
export class LoadCounts {
  sentSpans = 0;
  sentRequests = 0;
  acknowledgedSpans = 0;
  acknowledgedRequests = 0;
  /** Spans that the server refused permanently: single ones, or with their whole request. */
  rejectedSpans = 0;
  /** Spans of requests that were still refused when the drain time was over. */
  givenUpSpans = 0;
  /** Requests in flight now. */
  inFlight = 0;
  /** Refused attempts by reason, and the last message of each. */
  readonly refused: Map<string, { requests: number; message: string }> = new Map();
  /** Response times of acknowledged attempts. */
  readonly latencies: Latencies = new Latencies();
}

/** Largest backlog that is sent at once after the load fell behind its rate, milliseconds. */
const catchUpMs = 1000;
/** Longest timeout of setTimeout, milliseconds. */
const timerMsMax = 2 ** 31 - 1;
const backoffMs = { first: 500, most: 30_000 };

/** Sends until the time is over and all requests have ended; updates `counts`. */
export async function runLoad(options: LoadOptions, counts: LoadCounts): Promise<void> {
  const { traffic, clock, durationMs, inFlightMax, signal } = options;
  const slots = new Slots(inFlightMax);
  using drain = new Drain(options);
  const startMs = clock.monotonicMs();
  const start = async (request: TrafficRequest): Promise<void> => {
    await slots.take();
    void deliver(request, options, counts, drain.isOver).finally(() => slots.give());
  };
  let dueMs = startMs;
  for (;;) {
    const nowMs = clock.monotonicMs();
    const leftMs = startMs + durationMs - nowMs;
    if (signal.aborted || leftMs <= 0) break;
    if (dueMs > nowMs) {
      await sleepUnless(signal, clock, Math.min(dueMs - nowMs, leftMs));
      continue;
    }
    const request = traffic.next(clock.nowMs());
    if (request === undefined) break;
    if (options.spansPerSecond > 0) {
      const takesMs = (request.spanCount / options.spansPerSecond) * 1000;
      dueMs = Math.max(dueMs, nowMs - catchUpMs) + takesMs;
    }
    await start(request);
  }
  drain.begin();
  for (const request of traffic.finish()) await start(request);
  await slots.allFree();
}

/**
 * Ends the retries after the drain time. The drain begins by a timer too: while waiting requests
 * take all slots, nothing else would notice that the duration is over.
 */
class Drain {
  readonly #over = new AbortController();
  readonly #drainMs: number;
  readonly #signal: AbortSignal;
  readonly #timers: NodeJS.Timeout[] = [];
  #hasBegun = false;

  constructor({ durationMs, drainMs, signal }: LoadOptions) {
    this.#drainMs = drainMs;
    this.#signal = signal;
    if (durationMs < timerMsMax) this.#timers.push(setTimeout(this.begin, durationMs));
    signal.addEventListener("abort", this.begin, { once: true });
  }

  /** Aborts when requests must not be retried any longer. */
  get isOver(): AbortSignal {
    return this.#over.signal;
  }

  readonly begin = (): void => {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    this.#timers.push(setTimeout(() => this.#over.abort(), Math.min(this.#drainMs, timerMsMax)));
  };

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#signal.removeEventListener("abort", this.begin);
  }
}

/** Slots for requests in flight; one waiter at a time. */
class Slots {
  #free: number;
  readonly #count: number;
  #waiter: { wanted: number; wake: () => void } | undefined;

  constructor(count: number) {
    this.#free = count;
    this.#count = count;
  }

  /** Waits for a free slot and takes it. */
  async take(): Promise<void> {
    await this.#until(1);
    this.#free--;
  }

  give(): void {
    this.#free++;
    if (this.#waiter !== undefined && this.#free >= this.#waiter.wanted) this.#waiter.wake();
  }

  async allFree(): Promise<void> {
    await this.#until(this.#count);
  }

  async #until(wanted: number): Promise<void> {
    if (this.#free >= wanted) return;
    await new Promise<void>((wake) => (this.#waiter = { wanted, wake }));
    this.#waiter = undefined;
  }
}

async function deliver(
  { body, spanCount }: TrafficRequest,
  { sender, clock }: LoadOptions,
  counts: LoadCounts,
  drained: AbortSignal,
): Promise<void> {
  counts.sentRequests++;
  counts.sentSpans += spanCount;
  counts.inFlight++;
  try {
    for (let attempt = 0; ; attempt++) {
      const sentMs = performance.now();
      const answer = await sender.send(body);
      if (answer.kind === "stored") {
        counts.latencies.add(performance.now() - sentMs);
        counts.acknowledgedRequests++;
        counts.acknowledgedSpans += spanCount - answer.rejectedSpans;
        counts.rejectedSpans += answer.rejectedSpans;
        return;
      }
      const { reason, message, isRetryable, retryAfterMs } = answer;
      const known = counts.refused.get(reason);
      counts.refused.set(reason, { requests: (known?.requests ?? 0) + 1, message });
      if (!isRetryable) {
        counts.rejectedSpans += spanCount;
        return;
      }
      const backoff = Math.min(backoffMs.most, backoffMs.first * 2 ** attempt);
      // Jitter, so that not all requests retry at the same moment.
      const waitMs = (retryAfterMs ?? backoff) * (1 + Math.random() * 0.2);
      await sleepUnless(drained, clock, waitMs);
      if (drained.aborted) {
        counts.givenUpSpans += spanCount;
        return;
      }
    }
  } finally {
    counts.inFlight--;
  }
}

/** Sleeps; returns at once when `signal` aborts. */
async function sleepUnless(signal: AbortSignal, clock: Clock, ms: number): Promise<void> {
  try {
    await clock.sleep(Math.max(0, Math.ceil(ms)), signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
