/**
 * Entry of a worker thread: runs jobs over blocks, one at a time. After a panic of parquet-wasm, or
 * when its WASM memory exceeds the limit, the thread must run no other job. It posts its answer to
 * the main thread and exits; the pool starts another thread.
 */
import { parentPort, workerData } from "node:worker_threads";
import { move, transferableSymbol, valueSymbol } from "piscina";
import { type ErrorData, errorToData } from "#pkg/errors/errors.ts";
import { buffersOf } from "#pkg/questions/questions.ts";
import { runInBackground, StopMark } from "#pkg/threads/threads.ts";
import { type BlockJob, type BlockJobAnswer, BlockJobs } from "./block-jobs.ts";
import { isPanic, type ShardsAnswer } from "./shards-job.ts";
import type { OpenBlocksOptions } from "./open-blocks.ts";

export interface WorkerOptions extends OpenBlocksOptions {
  memoryBytesMax: number;
}

export interface WorkerTask {
  id: number;
  job: BlockJob;
  /** Buffer of a StopMark, which tells the job to stop. */
  stop: SharedArrayBuffer;
}

export type WorkerAnswer = { answer: BlockJobAnswer } | { error: ErrorData };

/** What a thread posts before it exits: the answer of its last task. */
export interface ExitMessage {
  taskId: number;
  reason: "panic" | "memory";
  answer: WorkerAnswer;
}

runInBackground();

const options = workerData as WorkerOptions;
const jobs = new BlockJobs(options);

export default async function run({ id, job, stop }: WorkerTask): Promise<WorkerAnswer> {
  let answer: WorkerAnswer;
  try {
    answer = { answer: await jobs.run(job, new StopMark(stop)) };
  } catch (error) {
    answer = { error: errorToData(error) };
    if (isPanic(error)) end(id, "panic", answer);
  }
  if (jobs.wasmBytes > options.memoryBytesMax) end(id, "memory", answer);
  return moved(job, answer);
}

/** Transfers large arrays of an answer to the main thread instead of copying them. */
function moved(job: BlockJob, answer: WorkerAnswer): WorkerAnswer {
  if (job.kind === "tagIndex" || "error" in answer) return answer;
  const { kind } = job;
  const { outcomes } = answer.answer as ShardsAnswer;
  const buffers = outcomes.flatMap((one) => ("error" in one ? [] : buffersOf(kind, one.answer)));
  if (buffers.length === 0) return answer;
  const message = { [transferableSymbol]: buffers, [valueSymbol]: answer };
  return move(message as never) as unknown as WorkerAnswer;
}

function end(taskId: number, reason: ExitMessage["reason"], answer: WorkerAnswer): never {
  const message: ExitMessage = { taskId, reason, answer };
  // oxlint-disable-next-line require-post-message-target-origin -- not a window
  parentPort!.postMessage(message);
  // In a worker this ends the thread. The message arrives before its "exit" event.
  return process.exit(0);
}
