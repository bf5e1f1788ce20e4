/**
 * Entry of a cutter thread: encodes closed heads from shared memory, one at a time, and stores the
 * blocks. The thread stays, because compiled code is what makes a cut cheap; it is replaced after a
 * failure of its own and when its WASM memory, which never shrinks, has grown too large.
 */
import { parentPort } from "node:worker_threads";
import { ulid } from "ulid";
import { blockPath, tableColumns, toBlockFile } from "#pkg/block/block-file.ts";
import { type CutBlock, cutHead } from "#pkg/block/cut.ts";
import { wasmMemoryBytes } from "#pkg/block/parquet.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { ThreadStores } from "#pkg/objstore/thread-stores.ts";
import { Rpc } from "#pkg/rpc/rpc.ts";
import { runInBackground } from "#pkg/threads/background.ts";
import { version } from "#pkg/version/version.ts";
import { encodeFailed } from "./cutter.ts";
import type { CutResult, CutTask, StoredCut } from "./messages.ts";
import { rebuildHead } from "./rebuild.ts";

/** Starts further than this from the time of ingest are bad clocks (decided). */
const pastNano = 24n * 3600n * 1_000_000_000n;
const futureNano = 600n * 1_000_000_000n;

/** Connections of a thread outlive its cuts. */
const stores: ThreadStores = new ThreadStores();

async function cut(task: CutTask): Promise<CutResult> {
  const head = task.head ?? rebuildHead(task);
  const stored = head.data.rows === 0 ? undefined : await store(head, task);
  return { stored, wasmBytes: wasmMemoryBytes() };
}

async function store(head: NonNullable<CutTask["head"]>, task: CutTask): Promise<StoredCut> {
  const startMs = performance.now();
  const block = encode(head, task);
  const encodedMs = performance.now();
  const bucket = await stores.open(task.store);
  const path = blockPath(ulid(task.nowMs), task.nowMs);
  await bucket.put(`${task.range.tenant}/${path}`, block.bytes);
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

runInBackground();
void new Rpc(parentPort!, { cut });
