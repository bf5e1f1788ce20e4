/**
 * Runs jobs on disposable worker threads. A bounded queue stands in front of piscina, which never
 * has more jobs than threads. So a job that is cancelled while it waits costs nothing, and a thread
 * that exits after a job takes no other job with it.
 *
 * Tenants take turns by the time that their jobs took. If all threads work for other tenants, a
 * tenant may run a job on one of a few spare threads. A cancelled job stops at its next await or
 * check of its stop mark; if it does not stop in time, its thread is ended.
 */
import { Piscina } from "piscina";
import { type ErrorData, errorFromData, SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { checkSignal } from "#pkg/objstore/objstore.ts";
import { FairQueue, StopMark, type Turn } from "#pkg/threads/threads.ts";
import type { BlockJob, BlockJobAnswer, BlockJobAnswers } from "./block-jobs.ts";
import type { ExitMessage, WorkerAnswer, WorkerTask } from "./block-worker.ts";
import type { QuerierMetrics } from "./metrics.ts";

/** The thread pool: piscina, or a test's. */
export interface ThreadPool {
  readonly threads: { readonly length: number };
  run(task: WorkerTask, options: { signal: AbortSignal }): Promise<WorkerAnswer>;
  on(event: "message", listener: (message: ExitMessage) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  destroy(): Promise<void>;
}

export interface ThreadPoolOptions {
  /** Threads that always exist. */
  threads: number;
  /** Extra threads, started when all others work for other tenants. */
  spareThreads: number;
  /** The threads' program, with the exports of block-worker.ts, and its `workerData`. */
  entry: URL;
  workerData: object;
}

export type StartPool = (options: ThreadPoolOptions) => ThreadPool;

export interface JobPoolOptions extends ThreadPoolOptions {
  queuedMax: number;
  jobTimeoutMs: number;
  /** How long a cancelled job may run before its thread is ended; `stopGraceMs` unless given. */
  graceMs?: number;
  /** A monotonic clock, milliseconds. */
  nowMs: () => number;
  /** Piscina unless given. */
  startPool?: StartPool;
  metrics: QuerierMetrics;
  log: Log;
}

/** Time for a cancelled job to stop. Cancellation must take effect within 100 ms. */
export const stopGraceMs = 50;
/** How long an idle spare thread is kept. */
const spareIdleMs = 10_000;

interface Waiting {
  job: BlockJob;
  signal: AbortSignal;
  resolve: (answer: BlockJobAnswer) => void;
  reject: (error: SpoorError) => void;
  /** Asks the running job to stop. */
  stop: () => void;
}

export class JobPool {
  readonly #options: JobPoolOptions;
  readonly #pool: ThreadPool;
  readonly #queue: FairQueue<Waiting>;
  /** Answers of threads that have exited, by task. */
  readonly #exitMessages = new Map<number, ExitMessage>();
  #taskId = 0;
  #isClosed = false;

  constructor(options: JobPoolOptions) {
    this.#options = options;
    this.#queue = new FairQueue(options.nowMs);
    this.#pool = (options.startPool ?? startPiscina)(options);
    this.#pool.on("message", (message: ExitMessage) =>
      this.#exitMessages.set(message.taskId, message),
    );
    this.#pool.on("error", (error: Error) => {
      options.log.error({ error: error.message }, "a worker thread failed between jobs");
    });
  }

  /** Jobs that wait for a thread. */
  get queued(): number {
    return this.#queue.waiting;
  }

  /** Threads that exist now. */
  get threads(): number {
    return this.#pool.threads.length;
  }

  /**
   * Runs a job. When `signal` aborts, a waiting job is dropped. A running job has `graceMs` to
   * stop; then its thread is ended. Throws the job's errors, Canceled, Timeout, LimitExceeded
   * (`queue_full`), Corrupt after a panic, or Unavailable if the thread died.
   */
  async run<K extends BlockJob["kind"]>(
    job: Extract<BlockJob, { kind: K }>,
    signal: AbortSignal,
  ): Promise<BlockJobAnswers[K]> {
    const attempt = nameOf(job);
    checkSignal(signal, attempt);
    if (this.#isClosed) throw closed(attempt);
    if (this.#queue.waiting >= this.#options.queuedMax) {
      const message = `${attempt}: ${this.#queue.waiting} jobs already wait: retry later`;
      throw new SpoorError("LimitExceeded", message, { reason: "queue_full", retryAfterMs: 1000 });
    }
    const { promise, resolve, reject } = Promise.withResolvers<BlockJobAnswer>();
    const waiting: Waiting = { job, signal, resolve, reject, stop: () => undefined };
    const tenant = tenantOf(job);
    const onAbort = (): void => {
      if (!this.#queue.delete(tenant, waiting)) waiting.stop();
      this.#gauges();
      reject(abortError(signal, attempt));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#queue.add(tenant, waiting);
    this.#next();
    try {
      return (await promise) as BlockJobAnswers[K];
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Ends all threads; jobs that wait or run fail with Unavailable. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (let turn = this.#take(); turn !== undefined; turn = this.#take()) {
      turn.item.reject(closed(nameOf(turn.item.job)));
      this.#queue.end(turn.tenant);
    }
    await this.#pool.destroy();
  }

  #take(): Turn<Waiting> | undefined {
    return this.#queue.next(() => true);
  }

  #next(): void {
    const { threads, spareThreads } = this.#options;
    while (!this.#isClosed) {
      const { running } = this.#queue;
      if (running >= threads + spareThreads) break;
      // Spare threads are for tenants without a running job.
      const turn = this.#queue.next((_, own) => running < threads || own === 0);
      if (turn === undefined) break;
      void this.#runOne(turn.tenant, turn.item);
    }
    this.#gauges();
  }

  async #runOne(tenant: string, waiting: Waiting): Promise<void> {
    const { metrics } = this.#options;
    const { job, resolve, reject } = waiting;
    const startedMs = performance.now();
    try {
      resolve(await this.#onThread(waiting));
      metrics.jobs.inc({ kind: job.kind, outcome: "ok" });
    } catch (error) {
      const failure = error as SpoorError;
      metrics.jobs.inc({ kind: job.kind, outcome: failure.code });
      reject(failure);
    } finally {
      metrics.jobSeconds.observe({ kind: job.kind }, (performance.now() - startedMs) / 1000);
      this.#queue.end(tenant);
      this.#next();
    }
  }

  /** Throws SpoorError only. */
  async #onThread(waiting: Waiting): Promise<BlockJobAnswer> {
    const { job } = waiting;
    const { jobTimeoutMs, graceMs = stopGraceMs } = this.#options;
    const id = this.#taskId++;
    const end = new AbortController();
    const mark = new StopMark();
    let grace: NodeJS.Timeout | undefined;
    const timeout = setTimeout(() => end.abort("timeout"), jobTimeoutMs);
    waiting.stop = () => {
      mark.set();
      grace ??= setTimeout(() => end.abort("canceled"), graceMs);
    };
    try {
      return answerOf(await this.#pool.run({ id, job, stop: mark.buffer }, { signal: end.signal }));
    } catch (error) {
      if (error instanceof SpoorError) throw error;
      const why = end.signal.aborted ? String(end.signal.reason) : undefined;
      return answerOf(this.#afterDeath(id, job, { error, why }));
    } finally {
      clearTimeout(timeout);
      clearTimeout(grace);
      waiting.stop = () => undefined;
      this.#exitMessages.delete(id);
    }
  }

  /** Handles a thread that ended during a job: it exited, this pool ended it, or it died. */
  #afterDeath(
    id: number,
    job: BlockJob,
    { error, why }: { error: unknown; why: string | undefined },
  ): WorkerAnswer {
    const { metrics, log, jobTimeoutMs } = this.#options;
    const { kind, key } = job;
    const exit = this.#exitMessages.get(id);
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const isPanic = error instanceof Error && error.name === "RuntimeError";
    const reason = exit?.reason ?? why ?? (isPanic ? "panic" : "died");
    metrics.workersReplaced.inc({ reason });
    log.warn({ reason, kind, block: key, error: message }, "worker thread is replaced");
    if (exit !== undefined) return exit.answer;
    if (this.#isClosed) throw closed(nameOf(job));
    if (reason === "canceled") throw new SpoorError("Canceled", `${nameOf(job)}: aborted`);
    if (reason === "timeout") {
      const text = `${nameOf(job)}: not finished after ${jobTimeoutMs} ms (querier.job_timeout)`;
      throw new SpoorError("Timeout", text, { reason: "job_timeout", cause: error });
    }
    if (isPanic) {
      const text = `${nameOf(job)}: Parquet reader panicked: ${message}`;
      throw new SpoorError("Corrupt", text, { reason: "panic", cause: error });
    }
    const text = `${nameOf(job)}: its thread died: ${message}`;
    throw new SpoorError("Unavailable", text, { reason: "worker_died", cause: error });
  }

  #gauges(): void {
    this.#options.metrics.queued.set(this.#queue.waiting);
    this.#options.metrics.running.set(this.#queue.running);
  }
}

function startPiscina(options: ThreadPoolOptions): ThreadPool {
  const { entry, threads, spareThreads, workerData } = options;
  return new Piscina<WorkerTask, WorkerAnswer>({
    filename: entry.href,
    // They start before the first search and keep their open blocks while idle.
    minThreads: threads,
    maxThreads: threads + spareThreads,
    idleTimeout: spareIdleMs,
    concurrentTasksPerWorker: 1,
    // Jobs await reads of the store: a thread must not block in Atomics.wait between jobs.
    atomics: "disabled",
    workerData,
  });
}

function answerOf(answer: WorkerAnswer): BlockJobAnswer {
  if ("error" in answer) throw errorFromData(answer.error as ErrorData);
  return answer.answer;
}

/** Returns the tenant, which is the first folder of a block's key. */
function tenantOf({ key }: BlockJob): string {
  return key.slice(0, Math.max(0, key.indexOf("/")));
}

function nameOf(job: BlockJob): string {
  const blocks =
    job.kind === "tagIndex" ? job.blocks.length : "items" in job ? job.items.length : 1;
  const more = blocks > 1 ? ` and ${blocks - 1} more` : "";
  return `${job.kind} of block ${job.key}${more}`;
}

function closed(attempt: string): SpoorError {
  return new SpoorError("Unavailable", `${attempt}: querier is stopping`, { reason: "stopping" });
}

function abortError(signal: AbortSignal, attempt: string): SpoorError {
  try {
    checkSignal(signal, attempt);
  } catch (error) {
    return error as SpoorError;
  }
  return new SpoorError("Canceled", `${attempt}: aborted`);
}
