/**
 * Lowers the priority of worker threads. The main thread serves all clients, so on busy processors
 * it must not wait for the threads that decode, cut and search.
 */
import { readlinkSync } from "node:fs";
import { setPriority } from "node:os";
import { threadId } from "node:worker_threads";

/** Gives a thread a third of the processor time of a thread with the default priority. */
const backgroundNice = 5;

/**
 * Lowers the priority of the calling thread. Linux has a priority per thread
 * (https://man7.org/linux/man-pages/man2/setpriority.2.html, "C library/kernel differences"). On
 * other systems, and where this is not permitted, nothing changes.
 */
export function runInBackground(): void {
  const id = nativeThreadId();
  if (id === undefined) return;
  try {
    setPriority(id, backgroundNice);
  } catch {
    // A sandbox may forbid it; then the thread keeps the default priority.
  }
}

/** Returns the kernel's id of the calling thread; undefined for the main thread. */
export function nativeThreadId(): number | undefined {
  if (threadId === 0 || process.platform !== "linux") return undefined;
  try {
    return Number(readlinkSync("/proc/thread-self").split("/").at(-1));
  } catch {
    return undefined;
  }
}
