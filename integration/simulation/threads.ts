/** The programs of worker threads, run in the thread of the simulation. */
import type { PartitionWorkerData, CutTask } from "#modules/ingester/messages.ts";
import { runCut } from "#modules/ingester/cut-task.ts";
import { serveLive } from "#modules/ingester/live-questions.ts";
import { PartitionLoop } from "#modules/ingester/partition-loop.ts";
import { BlockJobs } from "#modules/querier/block-jobs.ts";
import type { ThreadPool, StartPool } from "#modules/querier/job-pool.ts";
import { errorToData } from "#pkg/errors/errors.ts";
import type { StoreOpener } from "#pkg/objstore/thread-stores.ts";
import { type Port, Rpc } from "#pkg/rpc/rpc.ts";
import type { StartThread, Thread } from "#pkg/rpc/thread.ts";
import { checkpointHandlers } from "#pkg/table/checkpoint-handlers.ts";
import { StopMark } from "#pkg/threads/stop-mark.ts";
import type { Dice } from "./dice.ts";
import type { Gate } from "./gate.ts";

export interface ThreadsOptions {
  gate: Gate;
  dice: Dice;
  /** A thread's own way to the bucket. */
  stores: StoreOpener;
  /** How late partitions look at what is new in the log, and how often when nothing is. */
  pollMs: number;
  idlePollMs: number;
}

type Program = (port: Port, gate: Gate, data: unknown) => Promise<void>;

type Listener = (value: unknown) => void;

/** Threads of one process. */
export class InlineThreads {
  readonly #options: ThreadsOptions;
  readonly #programs: Record<string, Program>;
  readonly #running = new Set<InlineThread>();
  /** Wakes partitions that wait for something new in the log. */
  readonly #sleepers = new Set<() => void>();

  constructor(options: ThreadsOptions) {
    this.#options = options;
    this.#programs = {
      "partition-worker.ts": (port, gate, data) => this.#partition(port, gate, data),
      "cut-worker.ts": (port, gate) => this.#cutter(port, gate),
      "live-worker.ts": async (port) => serveLive(port),
      "checkpoint-worker.ts": async (port) => void new Rpc(port, checkpointHandlers()),
    };
  }

  readonly start: StartThread = (entry, data) => {
    const name = entry.pathname.split("/").at(-1)!;
    const program = this.#programs[name];
    const thread = new InlineThread(name, this.#options.gate.thread(), () =>
      this.#running.delete(thread),
    );
    this.#running.add(thread);
    const given: unknown = structuredClone(data);
    setImmediate(() => thread.run(program, given));
    return thread;
  };

  /** There is something new in the log. */
  wake(): void {
    for (const wake of this.#sleepers) wake();
    this.#sleepers.clear();
  }

  /** Ends one thread as if it had died; returns which one. */
  killOne(dice: Dice): string {
    const threads = [...this.#running];
    if (threads.length === 0) return "none";
    const thread = dice.pick(threads);
    thread.die();
    return thread.name;
  }

  /** A pool as the querier's. */
  readonly startPool: StartPool = ({ threads, spareThreads, workerData }) => {
    const { stores } = this.#options;
    const options = workerData as ConstructorParameters<typeof BlockJobs>[0];
    const idle = Array.from(
      { length: threads + spareThreads },
      () => new BlockJobs(options, stores),
    );
    const pool: ThreadPool = {
      threads: { length: threads },
      run: async ({ job, stop }) => {
        const jobs = idle.pop()!;
        try {
          return {
            answer: structuredClone(await jobs.run(structuredClone(job), new StopMark(stop))),
          };
        } catch (error) {
          return { error: errorToData(error) };
        } finally {
          idle.push(jobs);
        }
      },
      on: () => undefined,
      destroy: async () => idle.forEach((jobs) => jobs.close()),
    };
    return pool;
  };

  async #partition(port: Port, gate: Gate, data: unknown): Promise<void> {
    const { pollMs, idlePollMs } = this.#options;
    // A real one looks every 50 ms, which is most of what a simulation would do. Here a thread
    // sleeps longer than it asked for, as on a busy machine, but not when there is work.
    const sleep = async (): Promise<void> => {
      const { done, wake } = gate.nap(idlePollMs);
      this.#sleepers.add(wake);
      if (await done) await gate.sleep(pollMs);
      this.#sleepers.delete(wake);
    };
    const clock = { nowMs: () => gate.nowMs(), monotonicMs: () => gate.monotonicMs(), sleep };
    await new PartitionLoop(data as PartitionWorkerData, { port, clock }).run();
  }

  async #cutter(port: Port, gate: Gate): Promise<void> {
    const { stores, dice } = this.#options;
    const random = (): number => dice.float();
    const cut = async (task: CutTask): ReturnType<typeof runCut> => {
      await gate.sleep(dice.magnitude(5, 2000));
      return await runCut(task, { stores, random });
    };
    void new Rpc(port, { cut });
  }
}

/** One end of a channel: what is posted here arrives at the listeners of the other end. */
class End implements Port {
  readonly #listeners: Listener[] = [];
  readonly #gate: Gate;
  other: End | undefined;

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  postMessage(value: unknown): void {
    // As a real port: what cannot be copied is refused at once.
    const copy: unknown = structuredClone(value);
    setImmediate(() => {
      this.#gate.deliver(() => this.other!.#listeners.forEach((listen) => listen(copy)));
    });
  }

  on(event: string, listener: Listener): this {
    if (event === "message") this.#listeners.push(listener);
    return this;
  }
}

class InlineThread implements Thread {
  readonly name: string;
  readonly #gate: Gate;
  readonly #onEnd: () => void;
  readonly #outside: End;
  readonly #inside: End;
  readonly #onError: ((error: Error) => void)[] = [];
  readonly #onExit: ((code: number) => void)[] = [];
  #isEnded = false;

  constructor(name: string, gate: Gate, onEnd: () => void) {
    this.name = name;
    this.#gate = gate;
    this.#onEnd = onEnd;
    this.#outside = new End(gate);
    this.#inside = new End(gate);
    this.#outside.other = this.#inside;
    this.#inside.other = this.#outside;
  }

  run(program: Program, data: unknown): void {
    if (this.#gate.isDead) return;
    program(this.#inside, this.#gate, data).catch((error: unknown) => {
      if (this.#gate.isDead) return;
      for (const tell of this.#onError.splice(0)) tell(error as Error);
      this.die();
    });
  }

  postMessage(value: unknown): void {
    this.#outside.postMessage(value);
  }

  on(event: string, listener: Listener): this {
    this.#outside.on(event, listener);
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
    this.die();
  }

  die(): void {
    if (this.#isEnded || this.#gate.isDead) return;
    this.#isEnded = true;
    this.#onEnd();
    this.#gate.kill();
    for (const tell of this.#onExit.splice(0)) tell(1);
  }
}
