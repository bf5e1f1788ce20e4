/**
 * What may take long, off the main thread: encodes answers with large traces, reads parameters with
 * long texts or costly patterns, evaluates whole traces. Small work is done in place.
 */
import { Piscina } from "piscina";
import { ownBuffers } from "#pkg/bytes/bytes.ts";
import { arraysOf, bytesOfData } from "#pkg/columns/columns.ts";
import { type ErrorData, errorFromData, SpoorError } from "#pkg/errors/errors.ts";
import type { AnswerJob, AnswerJobResult } from "./answer-worker.ts";
import type { ParsedParams, ParamsJob } from "./read-params.ts";
import { type MergedTrace, type WholeTraces, wholeTracesHere } from "#pkg/query/query.ts";
import { type TraceAnswerJob, traceAnswerChunks } from "./trace-answer.ts";

/** About 2 ms of work; as JSON it is two to three times as long. */
const inPlaceBytesMax = 64 * 1024;
const queuedMax = 64;
const idleTimeoutMs = 60_000;
/** How long evaluating some whole traces may take: its pattern may be anything. */
const wholeTraceMsMax = 30_000;

export class AnswerPool {
  /** Patterns may keep a thread for long: what has a bound does not wait for them. */
  readonly #pools = new Map<"bounded" | "patterns", Piscina<AnswerJob, AnswerJobResult>>();

  /**
   * An answer in pieces that are to be joined. The pieces of the job are moved, not copied.
   *
   * Throws Corrupt or InvalidInput if a piece is not protobuf, LimitExceeded, Canceled, Timeout.
   */
  async encode(job: TraceAnswerJob, signal: AbortSignal): Promise<Uint8Array[]> {
    if (bytesOf(job.pieces) <= inPlaceBytesMax) return traceAnswerChunks(job);
    return (await this.#run("bounded", { kind: "trace", ...job }, signal)) as Uint8Array[];
  }

  /** Throws InvalidInput, LimitExceeded, Canceled, Timeout. */
  async parse(job: ParamsJob, signal: AbortSignal): Promise<ParsedParams> {
    return (await this.#run("bounded", { kind: "params", job }, signal)) as ParsedParams;
  }

  /** Details of whole traces; on a thread where they are large, or a pattern is asked of them. */
  readonly wholeTraces: WholeTraces = async (job, signal) => {
    const sizeBytes = job.parts.reduce((sum, part) => sum + bytesOfData(part), 0);
    if (sizeBytes <= inPlaceBytesMax && job.request.plan?.hasPattern !== true)
      return await wholeTracesHere(job, signal);
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(wholeTraceMsMax)]);
    return (await this.#run("patterns", { kind: "details", job }, bounded)) as MergedTrace[];
  };

  async #run(
    name: "bounded" | "patterns",
    job: AnswerJob,
    signal: AbortSignal,
  ): Promise<AnswerJobResult> {
    const pool = this.#pool(name);
    if (pool.queueSize >= queuedMax) {
      const message = `${queuedMax} large traces or queries are waiting to be worked on already`;
      throw new SpoorError("LimitExceeded", message, { reason: "answers_queued" });
    }
    const transferList = ownBuffers(arraysIn(job));
    const result = await pool.run(job, { signal, transferList });
    if (isError(result)) throw errorFromData(result.error);
    return result;
  }

  #pool(name: "bounded" | "patterns"): Piscina<AnswerJob, AnswerJobResult> {
    let pool = this.#pools.get(name);
    if (pool === undefined) {
      pool = new Piscina<AnswerJob, AnswerJobResult>({
        filename: new URL("answer-worker.ts", import.meta.url).href,
        minThreads: 0,
        maxThreads: name === "bounded" ? 1 : 2,
        maxQueue: queuedMax,
        idleTimeout: idleTimeoutMs,
      });
      this.#pools.set(name, pool);
    }
    return pool;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()));
  }
}

/** What a job has of other threads' spans. */
function arraysIn(job: AnswerJob): ArrayBufferView[] {
  switch (job.kind) {
    case "trace":
      return job.pieces;
    case "details":
      return job.job.parts.flatMap(arraysOf);
    default:
      return [];
  }
}

function bytesOf(pieces: TraceAnswerJob["pieces"]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

function isError(result: AnswerJobResult): result is { error: ErrorData } {
  return "error" in result;
}
