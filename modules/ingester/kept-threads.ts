/** Worker threads that are kept after their work, so that later work does not wait for a start. */
import type { SpoorError } from "#pkg/errors/errors.ts";
import { Rpc, type StartThread, startWorker, type Thread } from "#pkg/threads/threads.ts";

export interface KeptThreadsOptions {
  entry: URL;
  /** Number of threads that never end while idle; 0 unless given. */
  staying?: number;
  /** Idle time after which a thread beyond `staying` ends and frees its memory, milliseconds. */
  idleMs: number;
  /** A worker thread unless given. */
  startThread?: StartThread;
  /** Return the errors of calls to a thread that died, and to one that was ended. */
  died: (why: string, cause?: Error) => SpoorError;
  ended: () => SpoorError;
}

export interface KeptThread {
  readonly rpc: Rpc;
}

interface Running extends KeptThread {
  worker: Thread;
  idleTimer: NodeJS.Timeout | undefined;
}

/** Starts, keeps and ends threads. The caller bounds how many it takes. */
export class KeptThreads {
  readonly #options: KeptThreadsOptions;
  readonly #idle: Running[] = [];
  readonly #all = new Map<KeptThread, Running>();

  constructor(options: KeptThreadsOptions) {
    this.#options = options;
  }

  /** Number of threads, busy and idle. */
  get size(): number {
    return this.#all.size;
  }

  /** Returns an idle or a new thread. The caller must `park` or `end` it after its work. */
  take(): KeptThread {
    const parked = this.#idle.pop();
    if (parked === undefined) return this.#start();
    clearTimeout(parked.idleTimer);
    return parked;
  }

  /** Keeps a thread for later work. Does nothing if it has died. */
  park(thread: KeptThread): void {
    const running = this.#all.get(thread);
    if (running === undefined) return;
    const { staying = 0, idleMs } = this.#options;
    this.#idle.push(running);
    if (this.#all.size <= staying) return;
    running.idleTimer = setTimeout(() => void this.end(running), idleMs);
    running.idleTimer.unref();
  }

  /** Ends a thread now. Its calls in flight fail. */
  async end(thread: KeptThread): Promise<void> {
    const running = this.#all.get(thread);
    if (running === undefined) return;
    this.#forget(running);
    running.rpc.close(this.#options.ended());
    await running.worker.terminate();
  }

  async endAll(): Promise<void> {
    await Promise.all(Array.from(this.#all.keys(), (thread) => this.end(thread)));
  }

  #start(): Running {
    const { startThread = startWorker, entry, died } = this.#options;
    const worker = startThread(entry);
    const thread: Running = { worker, rpc: new Rpc(worker, {}), idleTimer: undefined };
    this.#all.set(thread, thread);
    const onDeath = (why: string, cause?: Error): void => {
      this.#forget(thread);
      thread.rpc.close(died(why, cause));
    };
    worker.once("error", (error: Error) => onDeath(error.message, error));
    worker.once("exit", (code) => onDeath(`it ended with code ${code}`));
    return thread;
  }

  #forget(thread: Running): void {
    clearTimeout(thread.idleTimer);
    this.#all.delete(thread);
    const index = this.#idle.indexOf(thread);
    if (index >= 0) this.#idle.splice(index, 1);
  }
}
