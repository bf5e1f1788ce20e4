/**
 * Test support: a thread's program whose jobs do what their key says. "wait" blocks the thread
 * until the gate in `workerData` opens, "exit" ends it, "throw" dies of an exception outside of
 * any job.
 */
import { workerData } from "node:worker_threads";
import type { WorkerAnswer, WorkerTask } from "./block-worker.ts";

export interface Gate {
  /** [how many jobs wait, whether they may go on], in shared memory. */
  cells: Int32Array;
}

export default async function run({ job }: WorkerTask): Promise<WorkerAnswer> {
  const { cells } = workerData as Gate;
  if (job.key === "exit") process.exit(3);
  if (job.key === "throw") {
    queueMicrotask(() => {
      throw new Error("out of nowhere");
    });
    await new Promise(() => undefined);
  }
  if (job.key === "wait") {
    Atomics.add(cells, 0, 1);
    Atomics.notify(cells, 0);
    Atomics.wait(cells, 1, 0);
  }
  return { answer: Buffer.from(job.key) };
}
