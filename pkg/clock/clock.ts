/** Time as a dependency, so that tests and simulations can move it by hand. */
import { setTimeout as sleepReal } from "node:timers/promises";

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Resolves after `ms`; rejects with AbortError when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  sleep: (ms, signal) => sleepReal(ms, undefined, { signal }),
};
