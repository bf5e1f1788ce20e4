/**
 * A mark in shared memory by which one thread asks another one to stop what it does. It is seen at
 * once by code that looks at it, and by code that awaits something through `signal`.
 */

const asked = 1;
const over = 2;

export class StopMark {
  readonly #cells: Int32Array<SharedArrayBuffer>;

  /** @param buffer of another thread's mark; a new one unless given. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.#cells = new Int32Array(buffer);
  }

  /** What another thread needs to see the same mark. */
  get buffer(): SharedArrayBuffer {
    return this.#cells.buffer;
  }

  get isSet(): boolean {
    return Atomics.load(this.#cells, 0) === asked;
  }

  set(): void {
    if (Atomics.compareExchange(this.#cells, 0, 0, asked) === 0) Atomics.notify(this.#cells, 0);
  }

  /** Runs work with a signal that aborts when the mark is set. */
  async during<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const { async: isAsync, value } = Atomics.waitAsync(this.#cells, 0, 0);
    const watch = async (): Promise<void> => {
      if (isAsync) await value;
      if (this.isSet) abort.abort();
    };
    void watch();
    try {
      return await work(abort.signal);
    } finally {
      // Wakes the watch, so that nothing waits for a mark that nobody will set.
      if (Atomics.compareExchange(this.#cells, 0, 0, over) === 0) Atomics.notify(this.#cells, 0);
    }
  }
}
