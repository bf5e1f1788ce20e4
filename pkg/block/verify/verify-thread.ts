/**
 * Runs the worker thread of verification from its parent: starts it on demand and replaces it after
 * a panic.
 */
import { Worker } from "node:worker_threads";
import { SpoorError } from "#pkg/errors/errors.ts";
import { Rpc } from "#pkg/threads/threads.ts";
import type { Finding } from "./findings.ts";
import type { StructureSource } from "./verify-structure.ts";

export interface OpenArgs {
  key: string;
  sizeBytes: number;
}

export interface ReadArgs {
  start: number;
  end: number;
}

export interface RowGroupReport {
  findings: Finding[];
  /** The trace ids of the row group, 16 bytes each. */
  traceIds: Uint8Array;
}

/** A worker that neither reads nor responds for this long is terminated, milliseconds. */
const silenceMsMax = 300_000;

interface Running {
  worker: Worker;
  rpc: Rpc;
  /** The block that it has open. */
  source: StructureSource | undefined;
}

/** A worker thread that checks one row group at a time. */
export class VerifyThread {
  #running: Running | undefined;
  #silence: NodeJS.Timeout | undefined;

  /**
   * Reads a row group and checks its rows. Throws Corrupt if it cannot be read ("parquet_panic" if
   * the Parquet reader panicked), or what the store throws.
   */
  async check(source: StructureSource, rowGroup: number): Promise<RowGroupReport> {
    const running = (this.#running ??= this.#start());
    this.#watch(running);
    try {
      if (running.source !== source) {
        running.source = source;
        const { key, sizeBytes } = source;
        await running.rpc.call("open", { key, sizeBytes } satisfies OpenArgs);
      }
      return (await running.rpc.call("check", rowGroup)) as RowGroupReport;
    } catch (error) {
      // A failure may have left the worker in any state.
      await this.close();
      throw error;
    } finally {
      clearTimeout(this.#silence);
    }
  }

  /** Terminates the worker. The next check starts a new one. */
  async close(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.worker.terminate();
  }

  #start(): Running {
    const worker = new Worker(new URL("verify-worker.ts", import.meta.url));
    const read = async ({ start, end }: ReadArgs): Promise<Uint8Array> => {
      this.#watch(running);
      const { store, key, signal } = running.source!;
      return await store.getRange(key, start, end, { signal });
    };
    const running: Running = { worker, rpc: new Rpc(worker, { read }), source: undefined };
    const fail = (message: string, cause?: unknown): void => {
      running.rpc.close(new SpoorError("Corrupt", message, { cause, reason: "parquet_panic" }));
    };
    worker.on("error", (error) => fail(`the Parquet reader panicked: ${String(error)}`, error));
    worker.on("exit", (code) => fail(`the verify worker ended with code ${code}`));
    return running;
  }

  #watch({ rpc }: Running): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      const message = `the verify worker did not respond for ${silenceMsMax} ms`;
      rpc.close(new SpoorError("Timeout", message, { reason: "verify_silent" }));
    }, silenceMsMax);
  }
}
