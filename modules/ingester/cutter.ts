/** Runs cuts on threads of their own, a bounded number at a time. */
import { cutterDied, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { StartThread } from "#pkg/threads/threads.ts";
import { type KeptThread, KeptThreads } from "./kept-threads.ts";
import type { CutResult, CutTask } from "./messages.ts";

export interface CutterOptions {
  threadsMax: number;
  /** A thread without work for this long ends and gives its memory back. */
  idleMs: number;
  /** A thread whose WASM memory is larger than this after a cut is replaced. */
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
   * there are none. Errors: Internal `encode_failed`; Unavailable `cutter_died`; what the store and
   * the log throw; Canceled after `stop`.
   */
  async cut(task: CutTask): Promise<CutResult> {
    if (this.#running >= this.#options.threadsMax) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      if (this.#isStopped) throw stopped();
      return await this.#run(this.#threads.take(), task);
    } finally {
      // The place goes to the one who waits longest; nobody can come between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  /** Ends all threads now; their cuts, and later ones, fail. */
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
      // A store that fails says nothing about the thread; anything else may have broken its WASM.
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
