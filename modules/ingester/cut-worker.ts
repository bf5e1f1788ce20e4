/**
 * Entry of a cutter thread: encodes one closed head from shared memory, stores the block, answers,
 * ends. One thread per block: WASM memory goes back with the thread, and a panic harms nothing else.
 */
import { parentPort, workerData } from "node:worker_threads";
import { ulid } from "ulid";
import { blockPath, tableColumns, toBlockFile } from "#pkg/block/block-file.ts";
import { type CutBlock, cutHead } from "#pkg/block/cut.ts";
import { errorToData, SpoorError } from "#pkg/errors/errors.ts";
import { openStore } from "#pkg/objstore/store-config.ts";
import { version } from "#pkg/version/version.ts";
import { type CutAnswer, encodeFailed } from "./cutter.ts";
import type { CutResult, CutTask } from "./messages.ts";
import { rebuildHead } from "./rebuild.ts";

/** Starts further than this from the time of ingest are bad clocks (decided). */
const pastNano = 24n * 3600n * 1_000_000_000n;
const futureNano = 600n * 1_000_000_000n;

async function run(task: CutTask): Promise<CutResult | undefined> {
  const startMs = performance.now();
  const head = task.head ?? rebuildHead(task.logDir, task.partition.index, task.range);
  if (head.data.rows === 0) return undefined;
  const block = encode(head, task);
  const encodedMs = performance.now();
  const store = await openStore(task.store);
  const path = blockPath(ulid(task.nowMs), task.nowMs);
  await store.put(`${task.range.tenant}/${path}`, block.bytes);
  const place = { path, sizeBytes: block.bytes.length, modifiedMs: task.nowMs };
  return {
    file: toBlockFile(block, { ...place, partition: task.partition }),
    columns: tableColumns(block.columns),
    duplicateSpans: block.duplicateSpans,
    encodeMs: encodedMs - startMs,
    storeMs: performance.now() - encodedMs,
  };
}

function encode(head: NonNullable<CutTask["head"]>, task: CutTask): CutBlock {
  const nano = (ms: number): bigint => BigInt(Math.round(ms)) * 1_000_000n;
  try {
    return cutHead(head.data, {
      rowGroupSpans: task.rowGroupSpans,
      plausibleFromNano: nano(head.firstAppendedMs) - pastNano,
      plausibleToNano: nano(head.lastAppendedMs) + futureNano,
      partition: task.partition,
      createdBy: `spoor ${version}`,
      tableColumns: task.tableColumns,
    });
  } catch (cause) {
    const { tenant, fromOffset, toOffset } = task.range;
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `encode records ${fromOffset} to ${toOffset} of tenant ${tenant}: ${why}`;
    throw new SpoorError("Internal", message, { reason: encodeFailed, cause });
  }
}

async function answer(task: CutTask): Promise<CutAnswer> {
  try {
    return { cut: await run(task) };
  } catch (error) {
    return { error: errorToData(error) };
  }
}

const last: CutAnswer = await answer(workerData as CutTask);
parentPort!.postMessage({ ...last });
