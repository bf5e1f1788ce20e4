/**
 * How worker threads are started, as a dependency: a simulation runs their programs in its own
 * thread, where it decides what happens when.
 */
import { Worker } from "node:worker_threads";
import type { Port } from "./rpc.ts";

/** A running worker thread, as its starter sees it. */
export interface Thread extends Port {
  once(event: "error", listener: (error: Error) => void): unknown;
  once(event: "exit", listener: (code: number) => void): unknown;
  /** Ends it at once. Resolves when it has ended. */
  terminate(): Promise<unknown>;
}

/** `workerData` reaches the thread as a copy, except for shared memory. */
export type StartThread = (entry: URL, workerData?: unknown) => Thread;

/** A real thread. */
export const startWorker: StartThread = (entry, workerData) => new Worker(entry, { workerData });
