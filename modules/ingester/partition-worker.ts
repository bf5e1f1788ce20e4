/**
 * Entry of a partition's worker thread: wires a Partition to the log's files and the main thread.
 */
import { setImmediate as yieldToEvents, setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import type { ListTracesRequest, TraceDetailsRequest } from "#pkg/api/query.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import { Rpc } from "#pkg/rpc/rpc.ts";
import { SharedNumber } from "#pkg/rpc/shared-number.ts";
import { openFileLogReader } from "#pkg/spanlog/file-log-reader.ts";
import type { PartitionWorkerData } from "./messages.ts";
import { Partition } from "./partition.ts";

/** How long the loop sleeps at the most when nobody wakes it: heads must also close by age. */
const idleMs = 500;

/**
 * While spans come, the log is looked at this often: being woken for every group of records would
 * cost the main thread more than appending them. After so many looks in vain it waits to be woken.
 */
const pollMs = 10;
const emptyPollsMax = 20;

interface HeadCall<T> {
  pinId: number;
  headId: number;
  request: T;
}

function start(data: PartitionWorkerData): void {
  const durable = new SharedNumber(data.durable);
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
      durable.touch();
      return state;
    },
    state: () => partition.state(),
    /** Reads up to `end` and closes all heads; resolves when all of them were announced. */
    flush: async (end: number) => {
      flushTo = end;
      durable.touch();
      await flushed;
    },
  });

  async function run(): Promise<never> {
    let announced = false;
    let emptyPolls = 0;
    for (;;) {
      const { version } = durable;
      partition.setDurableEnd(durable.value);
      let progressed = false;
      try {
        progressed = await partition.readSome();
      } catch (error) {
        if (!hasCode(error, "Unavailable")) throw error;
        rpc.notify("readFailed", error.message);
        await sleep(idleMs);
      }
      const { nextOffset } = partition;
      if (!announced && nextOffset >= data.durableEnd) {
        announced = true;
        rpc.notify("caughtUp", nextOffset);
      }
      if (flushTo >= 0 && nextOffset >= flushTo) {
        partition.closeAll();
        onFlushed();
      }
      if (progressed) {
        emptyPolls = 0;
        await yieldToEvents();
      } else if (++emptyPolls <= emptyPollsMax) await sleep(pollMs);
      else await durable.changed(version, idleMs);
    }
  }

  void run();
}

start(workerData as PartitionWorkerData);
