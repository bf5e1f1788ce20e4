/** Runs cuts on threads of their own, a bounded number at a time. */
import { Worker } from "node:worker_threads";
import { type ErrorData, errorFromData, SpoorError } from "#pkg/errors/errors.ts";
import type { CutResult, CutTask } from "./messages.ts";

/** A cutter thread's last word. `cut` is undefined if the range has no spans. */
export type CutAnswer = { cut: CutResult | undefined } | { error: ErrorData };

/** The reason of errors that the spans themselves cause: the same cut would fail again. */
export const encodeFailed = "encode_failed";
/** The reason when a thread ended without an answer: its content's fault, or the machine's. */
export const cutterDied = "cutter_died";

export class Cutter {
  readonly #threadsMax: number;
  readonly #waiting: (() => void)[] = [];
  readonly #workers = new Set<Worker>();
  #running = 0;
  #isStopped = false;

  constructor(threadsMax: number) {
    this.#threadsMax = threadsMax;
  }

  /**
   * Encodes the spans of a range of the log and stores them as one block; undefined if there are
   * none. Errors: Internal `encode_failed`; Unavailable `cutter_died`; what the store and the log
   * throw; Canceled after `stop`.
   */
  async cut(task: CutTask): Promise<CutResult | undefined> {
    if (this.#running >= this.#threadsMax) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      if (this.#isStopped) throw stopped();
      return await this.#runThread(task);
    } finally {
      // The place goes to the one who waits longest; nobody can come between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  /** Ends all threads now; their cuts, and later ones, fail. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#workers].map((worker) => worker.terminate()));
  }

  /** Resolves when the thread has ended, so that its memory is back before the next one starts. */
  async #runThread(task: CutTask): Promise<CutResult | undefined> {
    const worker = new Worker(new URL("cut-worker.ts", import.meta.url), { workerData: task });
    this.#workers.add(worker);
    let answer: CutAnswer | undefined;
    let failure: Error | undefined;
    worker.once("message", (message: CutAnswer) => (answer = message));
    worker.once("error", (error: Error) => (failure = error));
    const exitCode = await new Promise<number>((resolve) => worker.once("exit", resolve));
    this.#workers.delete(worker);
    if (answer !== undefined) {
      if ("error" in answer) throw errorFromData(answer.error);
      return answer.cut;
    }
    if (this.#isStopped) throw stopped();
    const why = failure?.message ?? `it ended with code ${exitCode}`;
    throw new SpoorError("Unavailable", `cutter thread died: ${why}`, {
      reason: cutterDied,
      cause: failure,
    });
  }
}

function stopped(): SpoorError {
  return new SpoorError("Canceled", "the cutter was stopped");
}
