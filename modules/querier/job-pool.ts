/**
 * Runs jobs on disposable worker threads: a bounded queue in front of piscina, which is never given
 * more jobs than it has threads. So a job that is cancelled while it waits costs nothing, and a
 * thread that ends itself after a job takes no other job with it.
 */
import { Piscina } from "piscina";
import { type ErrorData, errorFromData, SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { checkSignal } from "#pkg/objstore/checks.ts";
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
  threads: number;
  /** The threads' program, which exports what block-worker.ts does, and its `workerData`. */
  entry: URL;
  workerData: object;
}

export type StartPool = (options: ThreadPoolOptions) => ThreadPool;

export interface JobPoolOptions extends ThreadPoolOptions {
  queuedMax: number;
  jobTimeoutMs: number;
  /** Piscina unless given. */
  startPool?: StartPool;
  metrics: QuerierMetrics;
  log: Log;
}

interface Waiting {
  job: BlockJob;
  signal: AbortSignal;
  resolve: (answer: BlockJobAnswer) => void;
  reject: (error: SpoorError) => void;
  onAbort: () => void;
}

export class JobPool {
  readonly #options: JobPoolOptions;
  readonly #pool: ThreadPool;
  /** In order of arrival. */
  readonly #queue = new Set<Waiting>();
  /** Answers of threads that have ended themselves, by task. */
  readonly #lastWords = new Map<number, LastWords>();
  #running = 0;
  #taskId = 0;
  #isClosed = false;

  constructor(options: JobPoolOptions) {
    this.#options = options;
    this.#pool = (options.startPool ?? startPiscina)(options);
    this.#pool.on("message", (words: LastWords) => this.#lastWords.set(words.lastWordsOf, words));
    this.#pool.on("error", (error: Error) => {
      options.log.error({ error: error.message }, "a worker thread failed between jobs");
    });
  }

  /** Jobs that wait for a thread. */
  get queued(): number {
    return this.#queue.size;
  }

  /** Threads that exist now. */
  get threads(): number {
    return this.#pool.threads.length;
  }

  /**
   * Runs a job. When `signal` aborts, a waiting job is dropped; a running one goes on unheard for
   * at most `jobTimeoutMs`. Errors: those of the job; Canceled, Timeout; LimitExceeded
   * ("queue_full"); Corrupt after a panic; Unavailable when the thread died.
   */
  async run<K extends BlockJob["kind"]>(
    job: Extract<BlockJob, { kind: K }>,
    signal: AbortSignal,
  ): Promise<BlockJobAnswers[K]> {
    const attempt = nameOf(job);
    checkSignal(signal, attempt);
    if (this.#isClosed) throw closed(attempt);
    if (this.#queue.size >= this.#options.queuedMax) {
      const message = `${attempt}: ${this.#queue.size} jobs are waiting already`;
      throw new SpoorError("LimitExceeded", message, { reason: "queue_full", retryAfterMs: 1000 });
    }
    const { promise, resolve, reject } = Promise.withResolvers<BlockJobAnswer>();
    const waiting: Waiting = { job, signal, resolve, reject, onAbort: () => undefined };
    waiting.onAbort = () => {
      this.#queue.delete(waiting);
      this.#gauges();
      reject(abortError(signal, attempt));
    };
    signal.addEventListener("abort", waiting.onAbort, { once: true });
    this.#queue.add(waiting);
    this.#next();
    try {
      return (await promise) as BlockJobAnswers[K];
    } finally {
      signal.removeEventListener("abort", waiting.onAbort);
    }
  }

  /** Ends all threads; jobs that wait or run fail with Unavailable. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { job, reject } of this.#queue) reject(closed(nameOf(job)));
    this.#queue.clear();
    await this.#pool.destroy();
  }

  #next(): void {
    while (this.#running < this.#options.threads && this.#queue.size > 0 && !this.#isClosed) {
      const [waiting] = this.#queue;
      this.#queue.delete(waiting);
      this.#running++;
      void this.#runOne(waiting);
    }
    this.#gauges();
  }

  async #runOne({ job, resolve, reject }: Waiting): Promise<void> {
    const { metrics } = this.#options;
    const startedMs = performance.now();
    try {
      resolve(await this.#onThread(job));
      metrics.jobs.inc({ kind: job.kind, outcome: "ok" });
    } catch (error) {
      const failure = error as SpoorError;
      metrics.jobs.inc({ kind: job.kind, outcome: failure.code });
      reject(failure);
    } finally {
      metrics.jobSeconds.observe({ kind: job.kind }, (performance.now() - startedMs) / 1000);
      this.#running--;
      this.#next();
    }
  }

  /** Throws SpoorError only. */
  async #onThread(job: BlockJob): Promise<BlockJobAnswer> {
    const id = this.#taskId++;
    const timeout = AbortSignal.timeout(this.#options.jobTimeoutMs);
    try {
      return answerOf(await this.#pool.run({ id, job }, { signal: timeout }));
    } catch (error) {
      if (error instanceof SpoorError) throw error;
      return answerOf(this.#afterDeath(id, job, { error, isTimeout: timeout.aborted }));
    } finally {
      this.#lastWords.delete(id);
    }
  }

  /** The thread has ended before it answered: by its own will, by the timeout, or it died. */
  #afterDeath(
    id: number,
    job: BlockJob,
    { error, isTimeout }: { error: unknown; isTimeout: boolean },
  ): WorkerAnswer {
    const { metrics, log, jobTimeoutMs } = this.#options;
    const { kind, key } = job;
    const words = this.#lastWords.get(id);
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const isPanic = error instanceof Error && error.name === "RuntimeError";
    const reason = words?.reason ?? (isTimeout ? "timeout" : isPanic ? "panic" : "died");
    metrics.workersReplaced.inc({ reason });
    log.warn({ reason, kind, block: key, error: message }, "worker thread is replaced");
    if (words !== undefined) return words.answer;
    if (this.#isClosed) throw closed(nameOf(job));
    if (isTimeout) {
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
    this.#options.metrics.queued.set(this.#queue.size);
    this.#options.metrics.running.set(this.#running);
  }
}

function startPiscina({ entry, threads, workerData }: ThreadPoolOptions): ThreadPool {
  return new Piscina<WorkerTask, WorkerAnswer>({
    filename: entry.href,
    // They are there before the first search, and what they keep open outlives a pause.
    minThreads: threads,
    maxThreads: threads,
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
