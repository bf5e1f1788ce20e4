/** Runs cuts on threads of their own, a bounded number at a time. */
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import { cutterDied } from "#pkg/errors/reasons.ts";
import { Rpc } from "#pkg/rpc/rpc.ts";
import { type StartThread, startWorker, type Thread as WorkerThread } from "#pkg/rpc/thread.ts";
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

interface Thread {
  worker: WorkerThread;
  rpc: Rpc;
  idleTimer: NodeJS.Timeout | undefined;
}

export class Cutter {
  readonly #options: CutterOptions;
  readonly #waiting: (() => void)[] = [];
  readonly #idle: Thread[] = [];
  readonly #threads = new Set<Thread>();
  #running = 0;
  #isStopped = false;

  constructor(options: CutterOptions) {
    this.#options = options;
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
      return await this.#run(this.#takeThread(), task);
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
    await Promise.all([...this.#threads].map((thread) => this.#end(thread)));
  }

  async #run(thread: Thread, task: CutTask): Promise<CutResult> {
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
      if (keep && this.#threads.has(thread)) this.#park(thread);
      else await this.#end(thread);
    }
  }

  #takeThread(): Thread {
    const parked = this.#idle.pop();
    if (parked !== undefined) {
      clearTimeout(parked.idleTimer);
      return parked;
    }
    const { startThread = startWorker } = this.#options;
    const worker = startThread(new URL("cut-worker.ts", import.meta.url));
    const thread: Thread = { worker, rpc: new Rpc(worker, {}), idleTimer: undefined };
    this.#threads.add(thread);
    const died = (why: string, cause?: Error): void => {
      this.#forget(thread);
      const message = `cutter thread died: ${why}`;
      const error = new SpoorError("Unavailable", message, { reason: cutterDied, cause });
      thread.rpc.close(error);
    };
    worker.once("error", (error: Error) => died(error.message, error));
    worker.once("exit", (code) => died(`it ended with code ${code}`));
    return thread;
  }

  #park(thread: Thread): void {
    this.#idle.push(thread);
    thread.idleTimer = setTimeout(() => void this.#end(thread), this.#options.idleMs);
    thread.idleTimer.unref();
  }

  #forget(thread: Thread): void {
    clearTimeout(thread.idleTimer);
    this.#threads.delete(thread);
    const index = this.#idle.indexOf(thread);
    if (index >= 0) this.#idle.splice(index, 1);
  }

  async #end(thread: Thread): Promise<void> {
    this.#forget(thread);
    await thread.worker.terminate();
  }
}

function stopped(): SpoorError {
  return new SpoorError("Canceled", "the cutter was stopped");
}
