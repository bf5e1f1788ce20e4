/**
 * Runs jobs on disposable worker threads: a bounded queue in front of piscina, which is never given
 * more jobs than it has threads. So a job that is cancelled while it waits costs nothing, and a
 * thread that ends itself after a job takes no other job with it.
 *
 * Tenants take turns by the time that their jobs took. Where all threads work for others, a tenant
 * may have a job on one of a few spare threads. A job that is cancelled stops by itself where it
 * awaits something or looks; else its thread is ended.
 */
import { Piscina } from "piscina";
import { type ErrorData, errorFromData, SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { checkSignal } from "#pkg/objstore/objstore.ts";
import { FairQueue, StopMark, type Turn } from "#pkg/threads/threads.ts";
import type { BlockJob, BlockJobAnswer, BlockJobAnswers } from "./block-jobs.ts";
import type { LastWords, WorkerAnswer, WorkerTask } from "./block-worker.ts";
import type { QuerierMetrics } from "./metrics.ts";

/** What has the threads. */
export interface ThreadPool {
  readonly threads: { readonly length: number };
  run(task: WorkerTask, options: { signal: AbortSignal }): Promise<WorkerAnswer>;
  on(event: "message", listener: (words: LastWords) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  destroy(): Promise<void>;
}

export interface ThreadPoolOptions {
  /** Threads that are always there. */
  threads: number;
  /** Threads that come when all of those work for other tenants. */
  spareThreads: number;
  /** The threads' program, which exports what block-worker.ts does, and its `workerData`. */
  entry: URL;
  workerData: object;
}

export type StartPool = (options: ThreadPoolOptions) => ThreadPool;

export interface JobPoolOptions extends ThreadPoolOptions {
  queuedMax: number;
  jobTimeoutMs: number;
  /** How long a cancelled job may go on before its thread is ended; `stopGraceMs` unless given. */
  graceMs?: number;
  /** A clock that never goes back, milliseconds. */
  nowMs: () => number;
  /** Piscina unless given. */
  startPool?: StartPool;
  metrics: QuerierMetrics;
  log: Log;
}

/** Cancellation takes hold within 100 ms: so long a thread has to stop by itself. */
export const stopGraceMs = 50;
/** How long a spare thread stays without work. */
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
  /** Answers of threads that have ended themselves, by task. */
  readonly #lastWords = new Map<number, LastWords>();
  #taskId = 0;
  #isClosed = false;

  constructor(options: JobPoolOptions) {
    this.#options = options;
    this.#queue = new FairQueue(options.nowMs);
    this.#pool = (options.startPool ?? startPiscina)(options);
    this.#pool.on("message", (words: LastWords) => this.#lastWords.set(words.lastWordsOf, words));
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
   * Runs a job. When `signal` aborts, a waiting job is dropped; a running one stops within
   * `graceMs`, if need be by the end of its thread. Errors: those of the job; Canceled, Timeout;
   * LimitExceeded ("queue_full"); Corrupt after a panic; Unavailable when the thread died.
   */
  async run<K extends BlockJob["kind"]>(
    job: Extract<BlockJob, { kind: K }>,
    signal: AbortSignal,
  ): Promise<BlockJobAnswers[K]> {
    const attempt = nameOf(job);
    checkSignal(signal, attempt);
    if (this.#isClosed) throw closed(attempt);
    if (this.#queue.waiting >= this.#options.queuedMax) {
      const message = `${attempt}: ${this.#queue.waiting} jobs are waiting already`;
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
      // The spare ones are for tenants that have none.
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
      this.#lastWords.delete(id);
    }
  }

  /** The thread has ended before it answered: by its own will, by this pool's, or it died. */
  #afterDeath(
    id: number,
    job: BlockJob,
    { error, why }: { error: unknown; why: string | undefined },
  ): WorkerAnswer {
    const { metrics, log, jobTimeoutMs } = this.#options;
    const { kind, key } = job;
    const words = this.#lastWords.get(id);
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const isPanic = error instanceof Error && error.name === "RuntimeError";
    const reason = words?.reason ?? why ?? (isPanic ? "panic" : "died");
    metrics.workersReplaced.inc({ reason });
    log.warn({ reason, kind, block: key, error: message }, "worker thread is replaced");
    if (words !== undefined) return words.answer;
    if (this.#isClosed) throw closed(nameOf(job));
    if (reason === "canceled") throw new SpoorError("Canceled", `${nameOf(job)}: aborted`);
    if (reason === "timeout") {
      const text = `${nameOf(job)}: not done after ${jobTimeoutMs} ms`;
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
    // They are there before the first search, and what they keep open outlives a pause.
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

/** The first folder of a block's key. */
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
