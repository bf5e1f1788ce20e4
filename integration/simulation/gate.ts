/**
 * The boundary between a process (or a thread) and its environment: its clock, and all events from
 * outside. A paused process gets the events when it resumes. A dead process gets none, so its code
 * never continues.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import type { VirtualTime } from "./virtual-time.ts";

export class Gate implements Clock {
  readonly #time: VirtualTime;
  readonly #parent: Gate | undefined;
  readonly #held: (() => void)[] = [];
  #isPaused = false;
  #isDead = false;

  constructor(time: VirtualTime, parent?: Gate) {
    this.#time = time;
    this.#parent = parent;
  }

  get isDead(): boolean {
    return this.#isDead || this.#parent?.isDead === true;
  }

  nowMs(): number {
    return this.#time.wallMs;
  }

  monotonicMs(): number {
    return this.#time.nowMs;
  }

  /** Runs an event from outside, now or when the process resumes. */
  deliver(run: () => void): void {
    if (this.#isDead) return;
    if (this.#parent !== undefined) {
      this.#parent.deliver(() => {
        if (!this.#isDead) run();
      });
    } else if (this.#isPaused) this.#held.push(run);
    else run();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal?.aborted === true) {
      reject(new DOMException("the sleep was aborted", "AbortError"));
      return promise;
    }
    const event = this.#time.after(ms, () => {
      this.deliver(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
    });
    const onAbort = (): void => {
      event.run = undefined;
      reject(new DOMException("the sleep was aborted", "AbortError"));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    return promise;
  }

  /** Starts a sleep that `wake` can end early; `done` resolves to whether it did. */
  nap(ms: number): { done: Promise<boolean>; wake: () => void } {
    const { promise: done, resolve } = Promise.withResolvers<boolean>();
    const event = this.#time.after(ms, () => this.deliver(() => resolve(false)));
    const wake = (): void => {
      if (event.run === undefined) return;
      event.run = undefined;
      this.deliver(() => resolve(true));
    };
    return { done, wake };
  }

  /** Creates the gate of a thread of this process. */
  thread(): Gate {
    return new Gate(this.#time, this);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    for (const run of this.#held.splice(0)) this.deliver(run);
  }

  kill(): void {
    this.#isDead = true;
    this.#held.length = 0;
  }
}
