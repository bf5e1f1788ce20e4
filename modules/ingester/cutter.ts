/** Runs cuts on worker threads, a bounded number at a time. */
import { cutterDied, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { StartThread } from "#pkg/threads/threads.ts";
import { type KeptThread, KeptThreads } from "./kept-threads.ts";
import type { CutResult, CutTask } from "./messages.ts";

export interface CutterOptions {
  threadsMax: number;
  /** Idle time after which a thread ends and frees its memory, milliseconds. */
  idleMs: number;
  /** WASM memory after a cut above which a thread is replaced, bytes. */
  wasmBytesMax: number;
  /** A worker thread unless given. */
  startThread?: StartThread;
}

export class Cutter {
  readonly #options: CutterOptions;
  readonly #waiting: (() => void)[] = [];
  readonly #threads: KeptThreads;
  #running = 0;
  #isStopped = false;

  constructor(options: CutterOptions) {
    this.#options = options;
    const { idleMs, startThread } = options;
    this.#threads = new KeptThreads({
      entry: new URL("cut-worker.ts", import.meta.url),
      idleMs,
      startThread,
      died: (why, cause) => {
        const message = `cutter thread died: ${why}`;
        return new SpoorError("Unavailable", message, { reason: cutterDied, cause });
      },
      ended: stopped,
    });
  }

  /**
   * Encodes the spans of a range of the log and stores them as one block; `stored` is undefined if
   * there are none. Throws Internal (`encode_failed`), Unavailable (`cutter_died`), what the store
   * and the log throw, or Canceled after `stop`.
   */
  async cut(task: CutTask): Promise<CutResult> {
    if (this.#running >= this.#options.threadsMax) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      if (this.#isStopped) throw stopped();
      return await this.#run(this.#threads.take(), task);
    } finally {
      // The slot passes to the cut that has waited longest; the count stays.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  /** Ends all threads now. Cuts in flight and later ones fail. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#threads.endAll();
  }

  async #run(thread: KeptThread, task: CutTask): Promise<CutResult> {
    let keep = false;
    try {
      const result = (await thread.rpc.call("cut", task)) as CutResult;
      keep = result.wasmBytes <= this.#options.wasmBytesMax;
      return result;
    } catch (cause) {
      if (this.#isStopped) throw stopped();
      const error = toSpoorError(cause);
      // A failed store leaves the thread usable. Any other error may have broken its WASM.
      keep = error.code === "Unavailable" || error.code === "Timeout";
      throw error;
    } finally {
      if (keep) this.#threads.park(thread);
      else await this.#threads.end(thread);
    }
  }
}

function stopped(): SpoorError {
  return new SpoorError("Canceled", "the cutter was stopped");
}
