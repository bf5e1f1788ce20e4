/** Time as a dependency, so that tests and simulations can move it by hand. */
import { setTimeout as sleepReal } from "node:timers/promises";

export interface Clock {
  /**
   * The wall clock, milliseconds since the Unix epoch. Operators and NTP step it, both ways: it is
   * for times that are shown, stored, or compared with stored times.
   */
  nowMs(): number;
  /**
   * A clock that never goes back, milliseconds since a moment of its own: for intervals, deadlines
   * and the age of what is in memory. It goes on while the process is stopped (SIGSTOP). It may
   * stand still while the whole machine sleeps: see `longestSinceMs`. Values of different threads
   * and processes cannot be compared.
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

/** A moment by both clocks of one thread. */
export interface ClockReading {
  wallMs: number;
  monotonicMs: number;
}

export function readClock(clock: Clock): ClockReading {
  return { wallMs: clock.nowMs(), monotonicMs: clock.monotonicMs() };
}

/**
 * Returns the longest time that may have passed since a reading, milliseconds. The monotonic clock
 * misses the sleep of a machine, the wall clock may have been stepped: so this is for checks in
 * which "too old" is the safe result, and costs only work.
 */
export function longestSinceMs(clock: Clock, { wallMs, monotonicMs }: ClockReading): number {
  return Math.max(Math.abs(clock.nowMs() - wallMs), clock.monotonicMs() - monotonicMs);
}
