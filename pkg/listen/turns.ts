/** A semaphore: bounds the tasks that run at the same time. Others wait in order of arrival. */
export class Turns {
  readonly #tasksMax: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(tasksMax: number) {
    this.#tasksMax = tasksMax;
  }

  /** Tasks that run now. */
  get running(): number {
    return this.#running;
  }

  /** Runs `task` when its turn comes. The wait is unbounded: callers hold a request's lease. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#tasksMax) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    } else this.#running++;
    try {
      return await task();
    } finally {
      // A waiting task takes over this one's slot, so the count stays.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
