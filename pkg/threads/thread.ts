/**
 * Starting worker threads, as a dependency: a simulation runs their programs in its own thread,
 * where it controls the order of events.
 */
import { Worker } from "node:worker_threads";
import type { Port } from "./calls.ts";

/** A running worker thread, from its starter's side. */
export interface Thread extends Port {
  once(event: "error", listener: (error: Error) => void): unknown;
  once(event: "exit", listener: (code: number) => void): unknown;
  /** Terminates the thread; resolves when it has ended. */
  terminate(): Promise<unknown>;
}

/** Starts a thread. `workerData` is copied to the thread, except for shared memory. */
export type StartThread = (entry: URL, workerData?: unknown) => Thread;

/** Starts a real worker thread. */
export const startWorker: StartThread = (entry, workerData) => new Worker(entry, { workerData });
