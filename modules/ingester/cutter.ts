/** Runs cuts on threads of their own, a bounded number at a time. */
import { Worker } from "node:worker_threads";
import { type ErrorData, errorFromData, SpoorError } from "#pkg/errors/errors.ts";
import type { CutResult, CutTask } from "./messages.ts";

export class Cutter {
  readonly #threadsMax: number;
  readonly #waiting: (() => void)[] = [];
  readonly #workers = new Set<Worker>();
  #running = 0;

  constructor(threadsMax: number) {
    this.#threadsMax = threadsMax;
  }

  /**
   * Encodes and stores a head. Errors: what the store throws; Internal when the thread died or the
   * head could not be encoded.
   */
  async cut(task: CutTask): Promise<CutResult> {
    if (this.#running >= this.#threadsMax) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
    try {
      return await this.#runThread(task);
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  /** Ends all threads now; their cuts fail. */
  async stop(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.terminate()));
  }

  #runThread(task: CutTask): Promise<CutResult> {
    const worker = new Worker(new URL("cut-worker.ts", import.meta.url), { workerData: task });
    this.#workers.add(worker);
    return new Promise<CutResult>((resolve, reject) => {
      worker.once("message", (message: { result?: CutResult; error?: ErrorData }) => {
        if (message.result === undefined) reject(errorFromData(message.error!));
        else resolve(message.result);
      });
      worker.once("error", (cause) => {
        reject(new SpoorError("Internal", `cutter thread failed: ${cause.message}`, { cause }));
      });
      worker.once("exit", (code) => {
        this.#workers.delete(worker);
        reject(new SpoorError("Internal", `cutter thread ended with code ${code}`));
      });
    });
  }
}
