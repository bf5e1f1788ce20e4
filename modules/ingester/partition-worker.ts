/** Entry of a partition's worker thread: wires a Partition to the log's files and the main thread. */
import { setImmediate as yieldToEvents, setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import type { ListTracesRequest, TraceDetailsRequest } from "#pkg/api/query.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import { type Handlers, Rpc } from "#pkg/rpc/rpc.ts";
import { openFileLogReader } from "#pkg/spanlog/file-log-reader.ts";
import type { PartitionWorkerData } from "./messages.ts";
import { Partition } from "./partition.ts";

/** How long the loop sleeps at the most when nobody wakes it: heads must also close by age. */
const idleMs = 500;

interface HeadCall<T> {
  pinId: number;
  headId: number;
  request: T;
}

class PartitionWorker {
  readonly #rpc: Rpc;
  readonly #partition: Partition;
  /** The log as it was at the start ends here. */
  readonly #startEnd: number;
  #flushes: { end: number; resolve: () => void }[] = [];
  #wake: AbortController = new AbortController();
  #isReadFailing = false;

  constructor(data: PartitionWorkerData) {
    this.#startEnd = data.durableEnd;
    this.#partition = new Partition({
      ...data,
      reader: openFileLogReader(data.logDir, data.partition),
      clock: systemClock,
      onClosed: (head) => this.#rpc.notify("closed", head),
      onUndecodable: (record) => this.#rpc.notify("undecodable", record),
      onLost: (range) => this.#rpc.notify("lost", range),
    });
    this.#rpc = new Rpc(parentPort!, this.#handlers());
  }

  #handlers(): Handlers {
    const partition = this.#partition;
    return {
      durable: (end: number) => {
        partition.setDurableEnd(end);
        this.#wake.abort();
      },
      pin: (tenant: string) => {
        const answer = partition.pin(tenant);
        return { ...answer, stalled: answer.stalled || this.#isReadFailing };
      },
      release: (pinId: number) => partition.release(pinId),
      listTraces: ({ pinId, headId, request }: HeadCall<ListTracesRequest>) =>
        partition.listTraces(pinId, headId, request),
      traceDetails: ({ pinId, headId, request }: HeadCall<TraceDetailsRequest>) =>
        partition.traceDetails(pinId, headId, request),
      findTrace: ({ pinId, headId, request }: HeadCall<Uint8Array>) =>
        partition.findTrace(pinId, headId, request),
      committed: (head: { tenant: string; headId: number }) => {
        const state = partition.committed(head);
        this.#wake.abort();
        return state;
      },
      state: () => partition.state(),
      flush: (end: number) => this.#flush(end),
    };
  }

  /** Reads up to `end` and closes all heads; resolves when all of them were announced. */
  async #flush(end: number): Promise<void> {
    this.#partition.setDurableEnd(end);
    await new Promise<void>((resolve) => {
      this.#flushes.push({ end, resolve });
      this.#wake.abort();
    });
  }

  /** An error that it throws ends the thread; the main thread starts another one. */
  async run(): Promise<never> {
    let isAnnounced = false;
    for (;;) {
      const progressed = await this.#readSome();
      const { nextOffset } = this.#partition;
      if (!isAnnounced && nextOffset >= this.#startEnd) {
        isAnnounced = true;
        this.#rpc.notify("caughtUp", nextOffset);
      }
      const flushed = this.#flushes.filter(({ end }) => nextOffset >= end);
      if (flushed.length > 0) {
        this.#partition.closeAll();
        this.#flushes = this.#flushes.filter((flush) => !flushed.includes(flush));
        for (const { resolve } of flushed) resolve();
      }
      if (progressed) await yieldToEvents();
      else await this.#waitForWake();
    }
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
      await sleep(idleMs);
      return false;
    }
  }

  /**
   * Sleeps until something happens. A wake that comes while the loop reads has aborted the signal
   * already, so that this returns at once.
   */
  async #waitForWake(): Promise<void> {
    const { signal } = this.#wake;
    try {
      await sleep(idleMs, undefined, { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
      this.#wake = new AbortController();
    }
  }
}

await new PartitionWorker(workerData as PartitionWorkerData).run();
