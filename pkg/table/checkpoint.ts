/**
 * Checkpoints: the whole table as of one version in one Parquet file, so that a fresh process reads
 * it and the few later commits instead of the whole log.
 *
 *     <tenant>/_delta_log/00000000000000000010.checkpoint.parquet
 *     <tenant>/_delta_log/_last_checkpoint        {"version":10,"size":1234}: a hint, may lag
 *
 * Both have a checksum: the checkpoint one of its actions, the hint one of its fields
 * (`spoor.crc32`).
 */
import { crc32 } from "node:zlib";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import type { ObjectStore, ReadOptions } from "#pkg/objstore/objstore.ts";
import { Rpc, type StartThread, startWorker } from "#pkg/threads/threads.ts";
import { decodeCheckpointLines, encodeCheckpointLines } from "./checkpoint-lines.ts";
import { corrupt, own, parseObject, uintField } from "./json.ts";
import type { Snapshot } from "./table-model.ts";
import { snapshotOfCheckpoint } from "./snapshot.ts";

export interface CheckpointOptions extends ReadOptions {
  store: ObjectStore;
  tenant: string;
  /** Starts the thread for the Parquet code; a worker thread by default. */
  startThread?: StartThread;
}

const hintCrcKey = "spoor.crc32";

/** Timeout of a call to the worker, milliseconds. */
const workerTimeoutMs = 300_000;

/** Returns "<tenant>/_delta_log/00000000000000000012.checkpoint.parquet". */
export function checkpointKey(tenant: string, version: number): string {
  return `${tenant}/_delta_log/${String(version).padStart(20, "0")}.checkpoint.parquet`;
}

/** Parses the file name of a checkpoint in one file; undefined for other names. */
export function checkpointVersion(name: string): number | undefined {
  const digits = /^(\d{20})\.checkpoint\.parquet$/u.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function hintKey(tenant: string): string {
  return `${tenant}/_delta_log/_last_checkpoint`;
}

/**
 * Writes a snapshot as a checkpoint. The file is decoded and compared before it is stored, so that
 * a wrong checkpoint is never visible. Throws Internal if it differs, and the store's errors.
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
    throw new SpoorError("Internal", `checkpoint ${key} does not decode to what was encoded`);
  }
  await store.put(key, bytes, { signal });
  // Protocol and metaData are one action each.
  const size = 2 + files.size + tombstones.size + transactions.size;
  const hint = { version, size, sizeInBytes: bytes.length };
  const text = JSON.stringify({ ...hint, [hintCrcKey]: crc32(JSON.stringify(hint)) });
  await store.put(hintKey(tenant), new TextEncoder().encode(text), { signal });
}

/** Returns the version that the hint names; undefined if the hint is missing or unreadable. */
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
    // A bad hint is ignored: a list finds the checkpoint.
    if (crc !== undefined && crc !== crc32(JSON.stringify(hint))) return undefined;
    // A checkpoint in several files, which another engine may write, is not read.
    return own(hint, "parts") === undefined ? uintField(hint, "version", key) : undefined;
  } catch (error) {
    if (hasCode(error, "Corrupt")) return undefined;
    throw error;
  }
}

/** Reads the snapshot of a checkpoint. Throws Corrupt, naming it, or NotFound. */
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
      const timer = setTimeout(() => fail(`no result in ${workerTimeoutMs} ms`), workerTimeoutMs);
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
