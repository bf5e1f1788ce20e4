/** Encodes answers with traces: small ones in place, large ones on a worker thread. */
import { Piscina } from "piscina";
import { errorFromData, SpoorError } from "#pkg/errors/errors.ts";
import type { AnswerJobResult } from "./answer-worker.ts";
import { encodeTraceAnswer, type TraceAnswerJob } from "./trace-answer.ts";

/** About 2 ms of work; as JSON it is two to three times as long. */
const inPlaceBytesMax = 64 * 1024;
const queuedMax = 64;
const idleTimeoutMs = 60_000;

export class AnswerPool {
  #pool: Piscina<TraceAnswerJob, AnswerJobResult> | undefined;

  /**
   * Throws Corrupt or InvalidInput if a piece is not protobuf, LimitExceeded, Canceled, Timeout.
   */
  async encode(job: TraceAnswerJob, signal: AbortSignal): Promise<Uint8Array> {
    const sizeBytes = job.pieces.reduce((sum, { length }) => sum + length, 0);
    if (sizeBytes <= inPlaceBytesMax) return encodeTraceAnswer(job);
    this.#pool ??= new Piscina<TraceAnswerJob, AnswerJobResult>({
      filename: new URL("./answer-worker.ts", import.meta.url).href,
      minThreads: 0,
      maxThreads: 1,
      maxQueue: queuedMax,
      idleTimeout: idleTimeoutMs,
    });
    if (this.#pool.queueSize >= queuedMax) {
      const message = `${queuedMax} large traces are waiting to be encoded already`;
      throw new SpoorError("LimitExceeded", message, { reason: "answers_queued" });
    }
    const result = await this.#pool.run(job, { signal });
    if ("error" in result) throw errorFromData(result.error);
    return result;
  }

  async close(): Promise<void> {
    await this.#pool?.destroy();
  }
}
