/** Runs the programs of worker threads in the thread of the simulation. */
import type { PartitionWorkerData, CutTask } from "#modules/ingester/messages.ts";
import { runCut } from "#modules/ingester/cut-task.ts";
import { serveLive } from "#modules/ingester/live-questions.ts";
import { PartitionLoop } from "#modules/ingester/partition-loop.ts";
import { BlockJobs } from "#modules/querier/block-jobs.ts";
import type { ThreadPool, StartPool } from "#modules/querier/job-pool.ts";
import { errorToData } from "#pkg/errors/errors.ts";
import type { StoreOpener } from "#pkg/objstore/thread-stores.ts";
import { type Port, Rpc } from "#pkg/threads/calls.ts";
import type { StartThread, Thread } from "#pkg/threads/thread.ts";
import { checkpointHandlers } from "#pkg/table/checkpoint-handlers.ts";
import { StopMark } from "#pkg/threads/stop-mark.ts";
import type { Dice } from "./dice.ts";
import type { Gate } from "./gate.ts";

export interface ThreadsOptions {
  gate: Gate;
  dice: Dice;
  /** Opens the bucket for a thread. */
  stores: StoreOpener;
  /** Delay of partitions after new log records, and poll interval without new ones. */
  pollMs: number;
  idlePollMs: number;
}

type Program = (port: Port, gate: Gate, data: unknown) => Promise<void>;

type Listener = (value: unknown) => void;

/** The threads of one process. */
export class InlineThreads {
  readonly #options: ThreadsOptions;
  readonly #programs: Record<string, Program>;
  readonly #running = new Set<InlineThread>();
  /** Wake functions of partitions that wait for new log records. */
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

  /** Wakes all partitions that wait for new log records. */
  wake(): void {
    for (const wake of this.#sleepers) wake();
    this.#sleepers.clear();
  }

  /** Kills a random thread; returns its name. */
  killOne(dice: Dice): string {
    const threads = [...this.#running];
    if (threads.length === 0) return "none";
    const thread = dice.pick(threads);
    thread.die();
    return thread.name;
  }

  /** Starts a pool like the querier's. */
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
    // A real partition polls every 50 ms, which would dominate the events of a simulation. Here an
    // idle thread sleeps longer than requested, as on a busy machine, until there is work.
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

/** One end of a channel: posted messages arrive at the listeners of the other end. */
class End implements Port {
  readonly #listeners: Listener[] = [];
  readonly #gate: Gate;
  other: End | undefined;

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  postMessage(value: unknown): void {
    // Like a real port, it throws at once if the message cannot be cloned.
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
