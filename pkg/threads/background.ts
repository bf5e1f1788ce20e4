/**
 * Threads that work in the background. The main thread answers everybody: where all processors are
 * busy it should not wait until the decoding, cutting and searching threads have had their turn.
 */
import { readlinkSync } from "node:fs";
import { setPriority } from "node:os";
import { threadId } from "node:worker_threads";

/** A third of the share of a thread of the usual priority, when both want the same processor. */
const backgroundNice = 5;

/**
 * Puts the calling thread behind the main thread. Linux has a priority per thread
 * (https://man7.org/linux/man-pages/man2/setpriority.2.html, "C library/kernel differences"); on
 * other systems, and where it is not allowed, nothing changes.
 */
export function runInBackground(): void {
  const id = nativeThreadId();
  if (id === undefined) return;
  try {
    setPriority(id, backgroundNice);
  } catch {
    // A sandbox that forbids it: the thread works as before, and its neighbours wait a little more.
  }
}

/** The id that the kernel gave to the calling thread; undefined for the main thread. */
export function nativeThreadId(): number | undefined {
  if (threadId === 0 || process.platform !== "linux") return undefined;
  try {
    return Number(readlinkSync("/proc/thread-self").split("/").at(-1));
  } catch {
    return undefined;
  }
}
