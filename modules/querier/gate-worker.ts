/**
 * Test support: a worker program whose jobs act by their block's key. "wait" blocks the thread
 * until the gate in `workerData` opens, "exit" ends the thread, "throw" throws outside of any job.
 * A job over several row groups acts for each of them in turn.
 */
import { workerData } from "node:worker_threads";
import type { WorkerAnswer, WorkerTask } from "./block-worker.ts";
import { begun } from "./shards-job.ts";

export interface Gate {
  /** [number of waiting jobs, 1 once they may continue], in shared memory. */
  cells: Int32Array;
}

export default async function run({ job }: WorkerTask): Promise<WorkerAnswer> {
  if (job.kind === "tagIndex") throw new Error("row groups only");
  for (const [i, { place }] of job.items.entries()) {
    job.progress[i] = begun;
    await act(place.key);
    job.progress[i] = begun + 1;
  }
  const marks = job.items.map(({ place }) => Buffer.from(place.key));
  const outcomes = marks.map((one) => ({ answer: { marks: one } }));
  return { answer: { outcomes, readBytes: marks.length } };
}

async function act(key: string): Promise<void> {
  const { cells } = workerData as Gate;
  if (key === "exit") process.exit(3);
  if (key === "throw") {
    queueMicrotask(() => {
      throw new Error("out of nowhere");
    });
    await new Promise(() => undefined);
  }
  if (key === "wait" || key.endsWith("/wait")) {
    Atomics.add(cells, 0, 1);
    Atomics.notify(cells, 0);
    Atomics.wait(cells, 1, 0);
  }
}
