/**
 * Entry of a cutter thread: encodes closed heads from shared memory, one at a time, and stores the
 * blocks. The thread stays, because compiled code is what makes a cut cheap; it is replaced after a
 * failure of its own and when its WASM memory, which never shrinks, has grown too large.
 */
import { parentPort } from "node:worker_threads";
import { ulid } from "ulid";
import { blockPath, tableColumns, toBlockFile } from "#pkg/block/block-file.ts";
import { cutHead } from "#pkg/block/cut.ts";
import { wasmMemoryBytes } from "#pkg/block/parquet.ts";
import { openStore } from "#pkg/objstore/store-config.ts";
import { Rpc } from "#pkg/rpc/rpc.ts";
import { version } from "#pkg/version/version.ts";
import type { CutResult, CutTask } from "./messages.ts";

/** Starts further than this from the time of ingest are bad clocks (decided). */
const pastNano = 24n * 3600n * 1_000_000_000n;
const futureNano = 600n * 1_000_000_000n;

async function cut(task: CutTask): Promise<CutResult> {
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
    wasmBytes: wasmMemoryBytes(),
  };
}

void new Rpc(parentPort!, { cut });
