/**
 * A flag in shared memory with which one thread tells another to stop its work. Synchronous code
 * polls `isSet`; asynchronous code gets a signal from `during`.
 */

const stopRequested = 1;
const finished = 2;

export class StopMark {
  readonly #cells: Int32Array<SharedArrayBuffer>;

  /** @param buffer the buffer of another thread's mark; a new one by default. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.#cells = new Int32Array(buffer);
  }

  /** The shared memory, from which another thread opens the mark. */
  get buffer(): SharedArrayBuffer {
    return this.#cells.buffer;
  }

  get isSet(): boolean {
    return Atomics.load(this.#cells, 0) === stopRequested;
  }

  set(): void {
    if (Atomics.compareExchange(this.#cells, 0, 0, stopRequested) === 0)
      Atomics.notify(this.#cells, 0);
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
      // Wakes the watch, which would otherwise wait for ever.
      if (Atomics.compareExchange(this.#cells, 0, 0, finished) === 0)
        Atomics.notify(this.#cells, 0);
    }
  }
}
