/** The loop of a partition's thread: connects a Partition to the log and the main thread. */
import { setImmediate as yieldToEvents } from "node:timers/promises";
import type { Clock } from "#pkg/clock/clock.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import { buffersOf } from "#pkg/questions/questions.ts";
import { type Handlers, type Port, Rpc, SharedNumber, Transferred } from "#pkg/threads/threads.ts";
import { openSpanLogReader } from "#pkg/spanlog/spanlog.ts";
import type { PartitionWorkerData, RecordLimits } from "./messages.ts";
import { type LookUp, Partition } from "./partition.ts";

/** Polling intervals of the log: while spans arrive, and after `busyPolls` empty polls. */
const busyPollMs = 10;
const idlePollMs = 50;
const busyPolls = 20;
/** Pause after a failed read of the log. */
const readRetryMs = 500;

/** The port to the main thread, and the clock. */
export interface LoopOptions {
  port: Port;
  clock: Clock;
}

/** Reads the log in a loop and serves the main thread's calls. */
export class PartitionLoop {
  readonly #clock: Clock;
  readonly #rpc: Rpc;
  readonly #partition: Partition;
  /** Durable end of the log at the start. */
  readonly #startEnd: number;
  #flushes: { end: number; resolve: () => void }[] = [];
  readonly #durable: SharedNumber;
  #isReadFailing = false;

  constructor(data: PartitionWorkerData, { port, clock }: LoopOptions) {
    this.#clock = clock;
    this.#startEnd = data.durableEnd;
    this.#durable = new SharedNumber(data.durable);
    this.#partition = new Partition({
      ...data,
      reader: openSpanLogReader(data.logConfig, data.partition),
      clock,
      onClosed: (head) => this.#rpc.notify("closed", head),
      onUndecodable: (record) => this.#rpc.notify("undecodable", record),
      onCut: (notice) => this.#rpc.notify("cut", notice),
      onLargeTraces: (notice) => this.#rpc.notify("largeTraces", notice),
      onLost: (range) => this.#rpc.notify("lost", range),
    });
    this.#rpc = new Rpc(port, this.#handlers());
  }

  #handlers(): Handlers {
    const partition = this.#partition;
    return {
      pin: (tenant: string) => {
        partition.setDurableEnd(this.#durable.value);
        const answer = partition.pin(tenant);
        return { ...answer, stalled: answer.stalled || this.#isReadFailing };
      },
      release: (pinId: number) => partition.release(pinId),
      lend: ({ pinId, headId }: Omit<LookUp, "question" | "request">) =>
        partition.lend(pinId, headId),
      lookUp: (call: LookUp) => {
        const answer = partition.lookUp(call);
        return new Transferred(answer, buffersOf(call.question, answer));
      },
      limits: (limits: RecordLimits) => partition.setLimits(limits),
      committed: (head: { tenant: string; headId: number }) => partition.committed(head),
      state: () => {
        partition.setDurableEnd(this.#durable.value);
        return partition.state();
      },
      flush: (end: number) => this.#flush(end),
    };
  }

  /** Reads up to `end` and closes all heads; resolves when all of them were reported. */
  #flush(end: number): Promise<void> {
    return new Promise((resolve) => this.#flushes.push({ end, resolve }));
  }

  /** Runs forever. An error ends the thread, and the main thread starts a new one. */
  async run(): Promise<never> {
    let isAnnounced = false;
    let emptyPolls = 0;
    for (;;) {
      this.#partition.setDurableEnd(this.#durable.value);
      const progressed = await this.#readSome();
      const { nextOffset } = this.#partition;
      if (!isAnnounced && nextOffset >= this.#startEnd) {
        isAnnounced = true;
        this.#rpc.notify("caughtUp", nextOffset);
      }
      this.#answerFlushes();
      if (progressed) {
        emptyPolls = 0;
        await yieldToEvents();
      } else await this.#clock.sleep(++emptyPolls <= busyPolls ? busyPollMs : idlePollMs);
    }
  }

  #answerFlushes(): void {
    const { nextOffset } = this.#partition;
    const flushed = this.#flushes.filter(({ end }) => nextOffset >= end);
    if (flushed.length === 0) return;
    this.#partition.closeAll();
    this.#flushes = this.#flushes.filter((flush) => !flushed.includes(flush));
    for (const { resolve } of flushed) resolve();
  }

  async #readSome(): Promise<boolean> {
    try {
      const progressed = await this.#partition.readSome();
      this.#isReadFailing = false;
      return progressed;
    } catch (error) {
      if (!hasCode(error, "Unavailable")) throw error;
      if (!this.#isReadFailing) this.#rpc.notify("readFailed", error.message);
      this.#isReadFailing = true;
      await this.#clock.sleep(readRetryMs);
      return false;
    }
  }
}
