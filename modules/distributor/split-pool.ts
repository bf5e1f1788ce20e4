/** Splits requests by trace id: small ones in place, large ones on worker threads. */
import { Piscina } from "piscina";
import { errorFromData, SpoorError } from "#pkg/errors/errors.ts";
import { splitRequest, SplitScratch } from "#pkg/otlp/otlp.ts";
import { requestKey } from "#pkg/spanlog/spanlog.ts";
import type { KeyedSplit, SplitJob, SplitJobResult } from "./split-worker.ts";

/** Measured: in place 1.5 ms of the main thread per MiB; moved to a thread 0.15 ms per body. */
const inPlaceBytesMax = 1024 * 1024;
/** Bodies that may wait per thread. The receivers' limit of bytes in flight bounds them as well. */
const queuePerThread = 64;
const idleTimeoutMs = 60_000;

export interface SplitPoolOptions {
  threads: number;
  partitionCount: number;
  /** Retry delay sent to clients when the queue is full, milliseconds. */
  retryAfterMs: number;
}

export class SplitPool {
  readonly #options: SplitPoolOptions;
  readonly #scratch: SplitScratch = new SplitScratch();
  #pool: Piscina<SplitJob, SplitJobResult> | undefined;

  /** Threads start with the first large body. */
  constructor(options: SplitPoolOptions) {
    this.#options = options;
  }

  /** Threads that run now. */
  get threads(): number {
    return this.#pool?.threads.length ?? 0;
  }

  /**
   * Splits a body. Returns the parts with the request key: `key`, or the key of the body. The body
   * may be transferred to a thread: the caller must not use it afterwards. Throws what
   * `splitRequest` throws, LimitExceeded (`split_queue_full`), or Unavailable if the thread died.
   * Takes no AbortSignal: piscina would end the thread to cancel one job.
   */
  async split(tenant: string, body: Uint8Array, key?: Uint8Array): Promise<KeyedSplit> {
    const { threads, partitionCount, retryAfterMs } = this.#options;
    if (body.length <= inPlaceBytesMax) {
      const split = splitRequest(body, { partitionCount, scratch: this.#scratch });
      return { ...split, key: key ?? requestKey(tenant, body) };
    }
    this.#pool ??= new Piscina<SplitJob, SplitJobResult>({
      filename: new URL("./split-worker.ts", import.meta.url).href,
      minThreads: 0,
      maxThreads: threads,
      maxQueue: threads * queuePerThread,
      idleTimeout: idleTimeoutMs,
    });
    if (this.#pool.queueSize >= threads * queuePerThread) {
      const message = `${this.#pool.queueSize} large requests already wait: retry later`;
      throw new SpoorError("LimitExceeded", message, { reason: "split_queue_full", retryAfterMs });
    }
    // Only a whole buffer can be transferred; a view of a larger one is copied.
    const owned = body.byteLength === body.buffer.byteLength ? body : new Uint8Array(body);
    const result = await this.#run({ tenant, body: owned, key, partitionCount });
    if ("error" in result) throw errorFromData(result.error);
    return result.split;
  }

  async #run(job: SplitJob): Promise<SplitJobResult> {
    try {
      return await this.#pool!.run(job, { transferList: [job.body.buffer as ArrayBuffer] });
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SpoorError("Unavailable", `split a large request on its thread: ${why}`, {
        reason: "split_thread_died",
        retryAfterMs: this.#options.retryAfterMs,
        cause,
      });
    }
  }

  async close(): Promise<void> {
    await this.#pool?.destroy();
  }
}
