/**
 * Test support: the programs of the ingester's threads, run in the thread of the test. They say
 * the same to each other, copied by a real channel, without the start of a thread. Threads that
 * die, that are slow or that share a processor are the subject of `threads.test.ts`.
 */
import { MessageChannel, type TransferListItem } from "node:worker_threads";
import { type Clock, systemClock } from "#pkg/clock/clock.ts";
import { type StoreOpener, ThreadStores } from "#pkg/objstore/objstore.ts";
import { type Port, Rpc, type StartThread, type Thread } from "#pkg/threads/threads.ts";
import { runCut } from "./cut-task.ts";
import { serveLive } from "./live-questions.ts";
import type { CutTask, PartitionWorkerData } from "./messages.ts";
import { PartitionLoop } from "./partition-loop.ts";

/** A thread's way to its starter, and what tells that it was ended. */
interface Inside {
  port: Port;
  ended: AbortSignal;
}

type Program = (inside: Inside, data: unknown) => Promise<void>;

/** How long the log is left alone at most, milliseconds. */
const pollMs = 5;

/** Starts what `startWorker` would; cuts put blocks into the store that `stores` opens. */
export function threadsHere(stores: StoreOpener = new ThreadStores()): StartThread {
  const programs: Record<string, Program> = {
    "partition-worker.ts": runPartition,
    "cut-worker.ts": async ({ port }) => {
      void new Rpc(port, { cut: async (task: CutTask) => await runCut(task, { stores }) });
    },
    "live-worker.ts": async ({ port }) => serveLive(port),
  };
  return (entry, data) => new ThreadHere(programs[entry.pathname.split("/").at(-1)!], data);
}

async function runPartition({ port, ended }: Inside, data: unknown): Promise<void> {
  const clock: Clock = {
    ...systemClock,
    sleep: (ms) => systemClock.sleep(Math.min(ms, pollMs), ended),
  };
  await new PartitionLoop(data as PartitionWorkerData, { port, clock }).run();
}

class ThreadHere implements Thread {
  readonly #channel = new MessageChannel();
  readonly #end = new AbortController();
  readonly #onError: ((error: Error) => void)[] = [];
  readonly #onExit: ((code: number) => void)[] = [];

  constructor(program: Program, data: unknown) {
    const inside: Inside = { port: this.#channel.port2, ended: this.#end.signal };
    const given: unknown = structuredClone(data);
    setImmediate(() => {
      program(inside, given).catch((error: unknown) => this.#fail(error as Error));
    });
  }

  postMessage(value: unknown, transfer: readonly TransferListItem[] = []): void {
    this.#channel.port1.postMessage(value, transfer);
  }

  on(event: string, listener: (value: unknown) => void): this {
    this.#channel.port1.on(event, listener);
    return this;
  }

  once(
    event: "error" | "exit",
    listener: ((error: Error) => void) & ((code: number) => void),
  ): this {
    if (event === "error") this.#onError.push(listener);
    else this.#onExit.push(listener);
    return this;
  }

  async terminate(): Promise<void> {
    if (this.#end.signal.aborted) return;
    this.#end.abort();
    this.#channel.port1.close();
    for (const tell of this.#onExit.splice(0)) tell(1);
  }

  #fail(error: Error): void {
    if (this.#end.signal.aborted) return;
    for (const tell of this.#onError.splice(0)) tell(error);
    void this.terminate();
  }
}
