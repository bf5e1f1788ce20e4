/** Entry of a partition's worker thread: wires a Partition to the log's files and the main thread. */
import { setImmediate as yieldToEvents, setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import type { ListTracesRequest, TraceDetailsRequest } from "#pkg/api/query.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import { Rpc } from "#pkg/rpc/rpc.ts";
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

function start(data: PartitionWorkerData): void {
  let wake = new AbortController();
  let flushTo = -1;
  const { promise: flushed, resolve: onFlushed } = Promise.withResolvers<void>();
  const partition = new Partition({
    ...data,
    reader: openFileLogReader(data.logDir, data.partition),
    clock: systemClock,
    onClosed: (head) => rpc.notify("closed", head),
    onUndecodable: (record) => rpc.notify("undecodable", record),
  });
  const rpc = new Rpc(parentPort!, {
    durable: (end: number) => {
      partition.setDurableEnd(end);
      wake.abort();
    },
    pin: (tenant: string) => partition.pin(tenant),
    release: (pinId: number) => partition.release(pinId),
    listTraces: ({ pinId, headId, request }: HeadCall<ListTracesRequest>) =>
      partition.listTraces(pinId, headId, request),
    traceDetails: ({ pinId, headId, request }: HeadCall<TraceDetailsRequest>) =>
      partition.traceDetails(pinId, headId, request),
    findTrace: ({ pinId, headId, request }: HeadCall<Uint8Array>) =>
      partition.findTrace(pinId, headId, request),
    rebuild: (range: { tenant: string; fromOffset: number; toOffset: number }) =>
      partition.rebuild(range),
    committed: (head: { tenant: string; headId: number }) => {
      const state = partition.committed(head);
      wake.abort();
      return state;
    },
    state: () => partition.state(),
    /** Reads up to `end` and closes all heads; resolves when all of them were announced. */
    flush: async (end: number) => {
      flushTo = end;
      partition.setDurableEnd(end);
      wake.abort();
      await flushed;
    },
  });

  async function run(): Promise<never> {
    let announced = false;
    for (;;) {
      let progressed = false;
      try {
        progressed = await partition.readSome();
      } catch (error) {
        if (!hasCode(error, "Unavailable")) throw error;
        rpc.notify("readFailed", error.message);
        await sleep(idleMs);
      }
      const { nextOffset } = partition.state();
      if (!announced && nextOffset >= data.durableEnd) {
        announced = true;
        rpc.notify("caughtUp", nextOffset);
      }
      if (flushTo >= 0 && nextOffset >= flushTo) {
        partition.closeAll();
        onFlushed();
      }
      if (progressed) await yieldToEvents();
      else await waitForWake();
    }
  }

  /** Sleeps until something happens. Wakes that come while reading are not lost. */
  async function waitForWake(): Promise<void> {
    try {
      await sleep(idleMs, undefined, { signal: wake.signal });
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "AbortError") throw error;
      wake = new AbortController();
    }
  }

  void run();
}

start(workerData as PartitionWorkerData);
