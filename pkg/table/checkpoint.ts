/**
 * Checkpoints: the whole table as of one version in one Parquet file, so that a fresh process reads
 * that and the few commits behind it, not all commits there ever were.
 *
 *     <tenant>/_delta_log/00000000000000000010.checkpoint.parquet
 *     <tenant>/_delta_log/_last_checkpoint        {"version":10,"size":1234}: a hint, may lag
 *
 * Both have a checksum: of the checkpoint's actions in it, of the hint's fields in `spoor.crc32`.
 */
import { crc32 } from "node:zlib";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import type { ObjectStore, ReadOptions } from "#pkg/objstore/objstore.ts";
import { Rpc } from "#pkg/rpc/rpc.ts";
import { type StartThread, startWorker } from "#pkg/rpc/thread.ts";
import { decodeCheckpointLines, encodeCheckpointLines } from "./checkpoint-lines.ts";
import { corrupt, own, parseObject, uintField } from "./json.ts";
import type { Snapshot } from "./model.ts";
import { snapshotOfCheckpoint } from "./snapshot.ts";

export interface CheckpointOptions extends ReadOptions {
  store: ObjectStore;
  tenant: string;
  /** A worker thread unless given. */
  startThread?: StartThread;
}

const hintCrcKey = "spoor.crc32";

/** A worker that does not answer for this long is given up, milliseconds. */
const workerTimeoutMs = 300_000;

/** "<tenant>/_delta_log/00000000000000000012.checkpoint.parquet". */
export function checkpointKey(tenant: string, version: number): string {
  return `${tenant}/_delta_log/${String(version).padStart(20, "0")}.checkpoint.parquet`;
}

/** The version of a checkpoint in one file by its name in the log's folder; undefined: another. */
export function checkpointVersion(name: string): number | undefined {
  const digits = /^(\d{20})\.checkpoint\.parquet$/u.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function hintKey(tenant: string): string {
  return `${tenant}/_delta_log/_last_checkpoint`;
}

/**
 * Writes a snapshot as a checkpoint. It is read back before it is stored: a checkpoint that does
 * not hold exactly what it should is never seen. Throws Internal then, or what the store throws.
 */
export async function writeCheckpoint(
  snapshot: Snapshot,
  { store, tenant, startThread, signal }: CheckpointOptions,
): Promise<void> {
  const { version, files, tombstones, transactions } = snapshot;
  const key = checkpointKey(tenant, version);
  const lines = encodeCheckpointLines(snapshot);
  await using worker = openCheckpointThread(key, startThread);
  const bytes = await worker.run("encode", lines);
  const found = await decodeBytes(worker, version, bytes, key);
  if (Buffer.compare(encodeCheckpointLines(found), lines) !== 0) {
    throw new SpoorError("Internal", `checkpoint ${key} does not read back as it was written`);
  }
  await store.put(key, bytes, { signal });
  // Protocol and metaData are one action each.
  const size = 2 + files.size + tombstones.size + transactions.size;
  const hint = { version, size, sizeInBytes: bytes.length };
  const text = JSON.stringify({ ...hint, [hintCrcKey]: crc32(JSON.stringify(hint)) });
  await store.put(hintKey(tenant), new TextEncoder().encode(text), { signal });
}

/** The version that the hint names; undefined if there is no hint, or none that can be read. */
export async function lastCheckpoint(options: CheckpointOptions): Promise<number | undefined> {
  const { store, tenant, signal } = options;
  const key = hintKey(tenant);
  let bytes: Uint8Array;
  try {
    bytes = await store.get(key, { signal });
  } catch (error) {
    if (hasCode(error, "NotFound")) return undefined;
    throw error;
  }
  try {
    const { [hintCrcKey]: crc, ...hint } = parseObject(new TextDecoder().decode(bytes), key);
    // Without the hint the checkpoint is found by a list.
    if (crc !== undefined && crc !== crc32(JSON.stringify(hint))) return undefined;
    // A checkpoint in several files, which others may write, is found among the commits.
    return own(hint, "parts") === undefined ? uintField(hint, "version", key) : undefined;
  } catch (error) {
    if (hasCode(error, "Corrupt")) return undefined;
    throw error;
  }
}

/** The snapshot of a checkpoint. Throws Corrupt, naming it, or NotFound. */
export async function readCheckpoint(
  version: number,
  { store, tenant, startThread, signal }: CheckpointOptions,
): Promise<Snapshot> {
  const key = checkpointKey(tenant, version);
  const bytes = await store.get(key, { signal });
  await using worker = openCheckpointThread(key, startThread);
  return await decodeBytes(worker, version, bytes, key);
}

async function decodeBytes(
  worker: CheckpointWorker,
  version: number,
  bytes: Uint8Array,
  key: string,
): Promise<Snapshot> {
  const lines = await worker.run("decode", bytes);
  const commit = await decodeCheckpointLines(lines, { key, version });
  return snapshotOfCheckpoint(version, commit, key);
}

interface CheckpointWorker extends AsyncDisposable {
  /** Throws Corrupt, naming the checkpoint. */
  run(method: "encode" | "decode", bytes: Uint8Array): Promise<Uint8Array>;
}

function openCheckpointThread(
  key: string,
  startThread: StartThread = startWorker,
): CheckpointWorker {
  const worker = startThread(new URL("./checkpoint-worker.ts", import.meta.url));
  const rpc = new Rpc(worker, {});
  const fail = (what: string, cause?: unknown): void =>
    rpc.close(corrupt(`checkpoint ${key}`, what, cause));
  worker.once("error", (error) => fail(`the Parquet reader panicked: ${String(error)}`, error));
  worker.once("exit", (code) => fail(`the checkpoint worker ended with code ${code}`));
  return {
    run: async (method, bytes) => {
      const timer = setTimeout(() => fail(`no answer in ${workerTimeoutMs} ms`), workerTimeoutMs);
      try {
        return (await rpc.call(method, bytes)) as Uint8Array;
      } catch (error) {
        if (!hasCode(error, "Corrupt")) throw error;
        throw corrupt(`checkpoint ${key}`, error.message, error);
      } finally {
        clearTimeout(timer);
      }
    },
    [Symbol.asyncDispose]: async () => void (await worker.terminate()),
  };
}
