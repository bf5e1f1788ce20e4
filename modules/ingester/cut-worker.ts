/**
 * Entry of a cutter thread: encodes one closed head from shared memory, stores the block, answers,
 * ends. One thread per block: WASM memory goes back with the thread, and a panic harms nothing else.
 */
import { parentPort, workerData } from "node:worker_threads";
import { ulid } from "ulid";
import { blockPath, tableColumns, toBlockFile } from "#pkg/block/block-file.ts";
import { cutHead } from "#pkg/block/cut.ts";
import { errorToData } from "#pkg/errors/errors.ts";
import { openStore } from "#pkg/objstore/store-config.ts";
import { version } from "#pkg/version/version.ts";
import type { CutResult, CutTask } from "./messages.ts";

/** Starts further than this from the time of ingest are bad clocks (decided). */
const pastNano = 24n * 3600n * 1_000_000_000n;
const futureNano = 600n * 1_000_000_000n;

async function run(task: CutTask): Promise<CutResult> {
  const startMs = performance.now();
  const nano = (ms: number): bigint => BigInt(Math.round(ms)) * 1_000_000n;
  const block = cutHead(task.data, {
    rowGroupSpans: task.rowGroupSpans,
    plausibleFromNano: nano(task.firstAppendedMs) - pastNano,
    plausibleToNano: nano(task.lastAppendedMs) + futureNano,
    partition: task.partition,
    createdBy: `spoor ${version}`,
    tableColumns: task.tableColumns,
  });
  const encodedMs = performance.now();
  const store = await openStore(task.store);
  const path = blockPath(ulid(task.nowMs), task.nowMs);
  await store.put(`${task.tenant}/${path}`, block.bytes);
  const place = { path, sizeBytes: block.bytes.length, modifiedMs: task.nowMs };
  return {
    file: toBlockFile(block, { ...place, partition: task.partition }),
    columns: tableColumns(block.columns),
    duplicateSpans: block.duplicateSpans,
    encodeMs: encodedMs - startMs,
    storeMs: performance.now() - encodedMs,
  };
}

try {
  parentPort!.postMessage({ result: await run(workerData as CutTask) });
} catch (error) {
  parentPort!.postMessage({ error: errorToData(error) });
}
