/**
 * Runs questions to heads on worker threads. Heads are in shared memory, so a partition's thread
 * only lends the head. It continues to read the log and look up traces, whatever a condition costs.
 *
 * Tenants take turns by the time that their questions took, each on a few threads at a time. A
 * question that is cancelled or takes too long stops between two values; if it does not stop in
 * time, its thread is ended.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { AnswerOf, QuestionName } from "#pkg/questions/questions.ts";
import { FairQueue, type StartThread, StopMark } from "#pkg/threads/threads.ts";
import { type KeptThread, KeptThreads } from "./kept-threads.ts";
import type { LiveCall, LiveTask } from "./live-questions.ts";

export interface LivePoolOptions {
  /** Threads that one tenant may use at a time. This many threads stay while idle. */
  tenantThreads: number;
  /** Threads of all tenants. */
  threadsMax: number;
  /** Questions that may wait. */
  queuedMax: number;
  /** Longest time of one question, milliseconds. */
  timeoutMs: number;
  /** Time for a question to stop before its thread is ended; 50 ms unless given. */
  graceMs?: number;
  /** Idle time after which a thread beyond `tenantThreads` ends, milliseconds. */
  idleMs: number;
  /** A monotonic clock, milliseconds. */
  nowMs: () => number;
  /** A worker thread unless given. */
  startThread?: StartThread;
  /** Called when a thread was ended during a question. */
  onEnded?: (reason: "timeout" | "canceled") => void;
}

const stopGraceMs = 50;

export class LivePool {
  readonly #options: LivePoolOptions;
  /** Waiting questions: each function starts its question. */
  readonly #queue: FairQueue<() => void>;
  readonly #threads: KeptThreads;
  #isStopped = false;

  constructor(options: LivePoolOptions) {
    this.#options = options;
    this.#queue = new FairQueue(options.nowMs);
    const { tenantThreads, idleMs, startThread } = options;
    this.#threads = new KeptThreads({
      entry: new URL("live-worker.ts", import.meta.url),
      staying: tenantThreads,
      idleMs,
      startThread,
      died: (why, cause) => {
        const message = `a thread that searches heads died: ${why}`;
        return new SpoorError("Unavailable", message, { reason: "worker_died", cause });
      },
      ended: stopped,
    });
  }

  get waiting(): number {
    return this.#queue.waiting;
  }

  get running(): number {
    return this.#queue.running;
  }

  /** Starts the threads that stay, so that the first question does not wait for their start. */
  warmUp(): void {
    if (this.#isStopped) return;
    const missing = this.#options.tenantThreads - this.#threads.size;
    const started = Array.from({ length: Math.max(0, missing) }, () => this.#threads.take());
    for (const thread of started) this.#threads.park(thread);
  }

  /**
   * Asks a head when the tenant's turn comes. Throws the question's errors, Canceled, Timeout,
   * LimitExceeded if too many questions wait, or Unavailable if the thread died or the pool was
   * stopped.
   */
  async ask<K extends QuestionName>(
    tenant: string,
    task: LiveTask<K>,
    signal: AbortSignal,
  ): Promise<AnswerOf<K>> {
    await this.#turn(tenant, signal);
    try {
      if (this.#isStopped) throw stopped();
      if (signal.aborted) throw canceled();
      return (await this.#run(this.#threads.take(), task, signal)) as AnswerOf<K>;
    } finally {
      this.#queue.end(tenant);
      this.#next();
    }
  }

  /** Ends all threads now. Questions in flight and later ones fail. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#next();
    await this.#threads.endAll();
  }

  async #turn(tenant: string, signal: AbortSignal): Promise<void> {
    const { queuedMax } = this.#options;
    if (this.#isStopped) throw stopped();
    if (signal.aborted) throw canceled();
    if (this.#queue.waiting >= queuedMax) {
      const message = `${queuedMax} questions to heads already wait: retry later`;
      throw new SpoorError("LimitExceeded", message, { reason: "queue_full", retryAfterMs: 1000 });
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      if (this.#queue.delete(tenant, resolve)) reject(canceled());
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#queue.add(tenant, resolve);
    this.#next();
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #next(): void {
    const { tenantThreads, threadsMax } = this.#options;
    for (;;) {
      // After a stop all waiting questions start, and fail.
      const isFree = this.#isStopped || this.#queue.running < threadsMax;
      const turn = this.#queue.next((_, own) => isFree && (this.#isStopped || own < tenantThreads));
      if (turn === undefined) return;
      turn.item();
    }
  }

  async #run(thread: KeptThread, task: LiveTask, signal: AbortSignal): Promise<unknown> {
    const { timeoutMs, graceMs = stopGraceMs, onEnded } = this.#options;
    const mark = new StopMark();
    let ended: SpoorError | undefined;
    let grace: NodeJS.Timeout | undefined;
    const stop = (error: SpoorError, reason: "timeout" | "canceled"): void => {
      ended ??= error;
      mark.set();
      grace ??= setTimeout(() => {
        onEnded?.(reason);
        thread.rpc.close(ended!);
      }, graceMs);
    };
    const onAbort = (): void => stop(canceled(), "canceled");
    const timeout = setTimeout(() => stop(tooLong(timeoutMs), "timeout"), timeoutMs);
    signal.addEventListener("abort", onAbort, { once: true });
    let isBroken = true;
    try {
      const call: LiveCall = { ...task, stop: mark.buffer };
      const answer = await thread.rpc.call("ask", call);
      isBroken = false;
      return answer;
    } catch (error) {
      // An error of the question itself says nothing about the thread.
      isBroken = thread.rpc.isClosed;
      throw ended ?? error;
    } finally {
      clearTimeout(timeout);
      clearTimeout(grace);
      signal.removeEventListener("abort", onAbort);
      if (isBroken) void this.#threads.end(thread);
      else this.#threads.park(thread);
    }
  }
}

function stopped(): SpoorError {
  return new SpoorError("Unavailable", "the ingester is stopping");
}

function canceled(): SpoorError {
  return new SpoorError("Canceled", "a question to a head was canceled");
}

function tooLong(timeoutMs: number): SpoorError {
  const message = `a question to a head was not answered within ${timeoutMs} ms`;
  return new SpoorError("Timeout", message, { reason: "live_timeout" });
}
