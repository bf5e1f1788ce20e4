/** Runs cuts on threads of their own, a bounded number at a time. */
import { Worker } from "node:worker_threads";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import { Rpc } from "#pkg/rpc/rpc.ts";
import type { CutResult, CutTask } from "./messages.ts";

export interface CutterOptions {
  threadsMax: number;
  /** A thread without work for this long ends and gives its memory back. */
  idleMs: number;
  /** A thread whose WASM memory is larger than this after a cut is replaced. */
  wasmBytesMax: number;
}

interface Thread {
  worker: Worker;
  rpc: Rpc;
  idleTimer: NodeJS.Timeout | undefined;
}

export class Cutter {
  readonly #options: CutterOptions;
  readonly #waiting: (() => void)[] = [];
  readonly #idle: Thread[] = [];
  readonly #threads = new Set<Thread>();
  #running = 0;

  constructor(options: CutterOptions) {
    this.#options = options;
  }

  /**
   * Encodes and stores a head. Errors: what the store throws; Internal when the thread died or the
   * head could not be encoded.
   */
  async cut(task: CutTask): Promise<CutResult> {
    if (this.#running >= this.#options.threadsMax) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
    const thread = this.#takeThread();
    let keep = false;
    try {
      const result = (await thread.rpc.call("cut", task)) as CutResult;
      keep = result.wasmBytes <= this.#options.wasmBytesMax;
      return result;
    } catch (error) {
      // A store that fails says nothing about the thread; anything else may have broken its WASM.
      keep = hasCode(error, "Unavailable") || hasCode(error, "Timeout");
      throw error;
    } finally {
      if (keep && this.#threads.has(thread)) this.#park(thread);
      else void this.#end(thread);
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  /** Ends all threads now; their cuts fail. */
  async stop(): Promise<void> {
    await Promise.all([...this.#threads].map((thread) => this.#end(thread)));
  }

  #takeThread(): Thread {
    const parked = this.#idle.pop();
    if (parked !== undefined) {
      clearTimeout(parked.idleTimer);
      return parked;
    }
    const worker = new Worker(new URL("cut-worker.ts", import.meta.url));
    const thread: Thread = { worker, rpc: new Rpc(worker, {}), idleTimer: undefined };
    this.#threads.add(thread);
    worker.once("error", (cause) => {
      thread.rpc.close(
        new SpoorError("Internal", `cutter thread failed: ${cause.message}`, { cause }),
      );
    });
    worker.once("exit", (code) => {
      this.#forget(thread);
      thread.rpc.close(new SpoorError("Internal", `cutter thread ended with code ${code}`));
    });
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
