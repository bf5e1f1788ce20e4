/** Time as a dependency, so that tests and simulations can control it. */
import { setTimeout as sleepReal } from "node:timers/promises";

export interface Clock {
  /**
   * Returns the wall clock, milliseconds since the Unix epoch. Operators and NTP step it, forward
   * and back. Use it for times that are shown, stored, or compared with stored times.
   */
  nowMs(): number;
  /**
   * Returns a clock that never goes back, milliseconds since an arbitrary start. Use it for
   * intervals, deadlines and the age of data in memory. It advances while the process is stopped
   * (SIGSTOP). It may stand still while the machine sleeps: see `longestSinceMs`. Values of
   * different threads and processes are not comparable.
   */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with AbortError when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) => sleepReal(ms, undefined, { signal }),
};

/** A reading of both clocks of one thread. */
export interface ClockReading {
  wallMs: number;
  monotonicMs: number;
}

export function readClock(clock: Clock): ClockReading {
  return { wallMs: clock.nowMs(), monotonicMs: clock.monotonicMs() };
}

/**
 * Returns the longest time that may have passed since a reading, milliseconds. The monotonic clock
 * may miss a sleep of the machine, and the wall clock may have been stepped. So the result can be
 * too large: use it only for checks where "too old" is the safe outcome.
 */
export function longestSinceMs(clock: Clock, { wallMs, monotonicMs }: ClockReading): number {
  return Math.max(Math.abs(clock.nowMs() - wallMs), clock.monotonicMs() - monotonicMs);
}
