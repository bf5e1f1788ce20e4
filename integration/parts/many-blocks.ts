/** A table of many small blocks, and the request counts of a running binary. */
import { ulid } from "ulid";
import { blockPath, tableColumns } from "#pkg/block/block-file.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { headOf, putBlock, type SpanSpec } from "#pkg/engine/testing/spans.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import { type BlockFile, openTable } from "#pkg/table/delta-table.ts";
import { singleTenant } from "#pkg/tenant/tenant-name.ts";
import { makeTrace } from "./spans.ts";

export const blockCount = 1000;
export const partitionCount = 4;
export const tracesPerBlock = 4;
const blocksPerCommit = 50;

/**
 * Makes a table of `blockCount` blocks over all partitions, with a checkpoint and two later
 * commits. Returns one trace of each block. Spans of block 7 have the attribute `block` = `b7`.
 */
export async function makeManyBlocks(store: ObjectStore): Promise<SpanSpec[][]> {
  const log = openLog("silent");
  const table = openTable({ store, tenant: singleTenant, clock: systemClock, log });
  const columns = tableColumns(["start_unix_nano", "duration_nano"]);
  const firstTraces: SpanSpec[][] = [];
  for (let at = 0; at < blockCount; at += blocksPerCommit) {
    const numbers = Array.from({ length: blocksPerCommit }, (_, i) => at + i);
    const made = await Promise.all(numbers.map(async (i) => await makeBlock(store, i)));
    const add = made.map(({ file }) => file);
    firstTraces.push(...made.map(({ trace }) => trace));
    await table.commit({ add, columns, operation: "WRITE", dataChange: true });
    if (at === blockCount - 3 * blocksPerCommit) {
      await table.checkpoint({ commitsMin: 1, removedBeforeMs: 0 });
    }
  }
  return firstTraces;
}

async function makeBlock(
  store: ObjectStore,
  number: number,
): Promise<{ file: BlockFile; trace: SpanSpec[] }> {
  const index = number % partitionCount;
  const traces: SpanSpec[][] = [];
  while (traces.length < tracesPerBlock) {
    const trace = makeTrace(3, { attributes: { block: `b${number}` } });
    const id = Buffer.from(trace[0].traceId, "hex");
    if (partitionOf(id, 0, partitionCount) === index) traces.push(trace);
  }
  const path = blockPath(ulid(), Date.now());
  const partition = { index, count: partitionCount };
  const block = { tenant: singleTenant, path, head: headOf(traces.flat()), partition };
  return { file: await putBlock(store, { ...block, rowGroupSpans: 1000 }), trace: traces[0] };
}

/** Number of requests by kind. */
export type Requests = Record<string, number>;

/** Returns the requests of a running Spoor so far, of all threads. */
export async function requestsSoFar(address: string): Promise<Requests> {
  const text = await (await fetch(`${address}/metrics`)).text();
  const pattern = /^spoor_store_requests_total\{kind="(\w+)"\} (\d+)$/gm;
  const found = [...text.matchAll(pattern)].map(([, kind, count]) => [kind, Number(count)]);
  return Object.fromEntries(found) as Requests;
}

/** Returns the requests that `run` makes, without kinds that have none. */
export async function requestsOf(address: string, run: () => Promise<void>): Promise<Requests> {
  const before = await requestsSoFar(address);
  await run();
  const after = await requestsSoFar(address);
  const made = Object.entries(after).map(([kind, count]) => [kind, count - before[kind]] as const);
  return Object.fromEntries(made.filter(([, count]) => count > 0));
}
