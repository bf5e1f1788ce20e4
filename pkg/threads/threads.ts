/**
 * The door of pkg/threads: calls to worker threads, fair queues, background loops.
 */
export { runInBackground } from "./background.ts";
export { type Handlers, type Port, Rpc, Transferred } from "./calls.ts";
export { FairQueue, type Turn } from "./fair-queue.ts";
export { SharedNumber } from "./shared-number.ts";
export { StopMark } from "./stop-mark.ts";
export { type StartThread, type Thread, startWorker } from "./thread.ts";
