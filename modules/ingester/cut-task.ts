/**
 * The task of a cutter thread: encodes a closed head from shared memory and stores the block.
 */
import { ulid } from "ulid";
import { blockPath, tableColumns, toBlockFile } from "#pkg/block/block.ts";
import { type CutBlock, cutHead } from "#pkg/block/cut.ts";
import { wasmMemoryBytes } from "#pkg/parquet/parquet-wasm.ts";
import { encodeFailed, SpoorError } from "#pkg/errors/errors.ts";
import type { StoreOpener } from "#pkg/objstore/objstore.ts";
import { version } from "#pkg/version/version.ts";
import type { CutResult, CutTask, StoredCut } from "./messages.ts";
import { rebuildHead } from "./rebuild.ts";

/** Start times further than this from the time of ingest count as bad clocks. */
const pastNano = 24n * 3600n * 1_000_000_000n;
const futureNano = 600n * 1_000_000_000n;

/** The resources of a cutter thread. */
export interface CutThread {
  /** Opens stores; a thread keeps their connections between cuts. */
  stores: StoreOpener;
  /** Returns a number in [0, 1), for names of blocks; random by default. */
  random?: () => number;
}

/** Runs a cut. Throws as `Cutter.cut` does. */
export async function runCut(task: CutTask, thread: CutThread): Promise<CutResult> {
  const head = task.head ?? (await rebuildHead(task));
  const stored = head.data.rows === 0 ? undefined : await store(head, task, thread);
  return { stored, wasmBytes: wasmMemoryBytes() };
}

async function store(
  head: NonNullable<CutTask["head"]>,
  task: CutTask,
  { stores, random }: CutThread,
): Promise<StoredCut> {
  const startMs = performance.now();
  const block = encode(head, task);
  const encodedMs = performance.now();
  const bucket = await stores.open(task.store);
  const path = blockPath(ulid(task.nowMs, random), task.nowMs);
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
