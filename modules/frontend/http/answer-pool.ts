/**
 * Runs slow work off the main thread: encodes responses with large traces, parses parameters with
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
/** Longest evaluation of whole traces, ms. A client's pattern can be arbitrarily costly. */
const wholeTraceMsMax = 30_000;

export class AnswerPool {
  /** Patterns can occupy a thread for long, so work of bounded cost has a pool of its own. */
  readonly #pools = new Map<"bounded" | "patterns", Piscina<AnswerJob, AnswerJobResult>>();

  /**
   * Encodes a trace response. Returns chunks to be joined. The buffers of `job.pieces` are
   * transferred, not copied: the caller must not use them afterwards.
   *
   * Throws Corrupt or InvalidInput if a piece is not protobuf, LimitExceeded, Canceled, Timeout.
   */
  async encode(job: TraceAnswerJob, signal: AbortSignal): Promise<Uint8Array[]> {
    if (bytesOf(job.pieces) <= inPlaceBytesMax) return traceAnswerChunks(job);
    return (await this.#run("bounded", { kind: "trace", ...job }, signal)) as Uint8Array[];
  }

  /** Parses parameters on a thread. Throws InvalidInput, LimitExceeded, Canceled, Timeout. */
  async parse(job: ParamsJob, signal: AbortSignal): Promise<ParsedParams> {
    return (await this.#run("bounded", { kind: "params", job }, signal)) as ParsedParams;
  }

  /**
   * Evaluates whole traces; on a thread if they are large or the condition has a pattern. Throws
   * LimitExceeded, Canceled, and Timeout after 30 s.
   */
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
      const message = `${queuedMax} large traces or queries already wait for a thread: retry later`;
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

/** Returns the arrays of spans in a job, whose buffers are transferred to the thread. */
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
