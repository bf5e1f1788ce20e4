/** Lets a few tasks run at the same time; the others wait in the order in which they came. */
export class Turns {
  readonly #tasksMax: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(tasksMax: number) {
    this.#tasksMax = tasksMax;
  }

  /** Tasks that run now, and those that wait. */
  get running(): number {
    return this.#running;
  }

  /** Runs `task` when it is its turn. Callers bound how many wait: each holds a request's lease. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#tasksMax) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    } else this.#running++;
    try {
      return await task();
    } finally {
      // A task that waits takes this one's place: the count stays.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
