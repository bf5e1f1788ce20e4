/**
 * Deletes commits that a checkpoint covers and that are too old for any reader to need.
 *
 * A writer with an outdated snapshot could create a deleted version again, and no reader would see
 * that commit. So only commits above a minimum age are deleted, and a writer whose snapshot is
 * older than a part of that age refreshes it first (table.ts).
 */
import type { ObjectInfo } from "#pkg/objstore/objstore.ts";
import { type CheckpointOptions, checkpointVersion, lastCheckpoint } from "./checkpoint.ts";
import { readCheckpoint } from "./checkpoint.ts";

export interface CleanUpOptions extends CheckpointOptions {
  /** Objects that were modified before this time are old, milliseconds since the epoch. */
  beforeMs: number;
}

/** Commits younger than this are never deleted. One hour. */
export const commitAgeMinMs = 3_600_000;
/** Objects per delete request. */
const batchSize = 500;

/**
 * Deletes old commits and checkpoints, oldest first, below the last checkpoint. That checkpoint
 * must be readable, and its own commit stays. Stops at the first young object, so that the rest of
 * the log has no gap. Returns the number of deleted objects. Throws the errors of the store, and
 * Corrupt for a bad checkpoint.
 */
export async function cleanUpLog(options: CleanUpOptions): Promise<number> {
  const { store, signal } = options;
  const last = await lastCheckpoint(options);
  if (last === undefined) return 0;
  const old = await oldObjects(options, last);
  if (old.length === 0) return 0;
  // The hint alone is not proof that the checkpoint is readable.
  await readCheckpoint(last, options);
  for (let at = 0; at < old.length; at += batchSize) {
    const keys = old.slice(at, at + batchSize).map(({ key }) => key);
    await store.deleteMany(keys, { signal });
  }
  return old.length;
}

async function oldObjects(
  { store, tenant, beforeMs, signal }: CleanUpOptions,
  last: number,
): Promise<ObjectInfo[]> {
  const folder = `${tenant}/_delta_log/`;
  const old: ObjectInfo[] = [];
  for await (const info of store.list(folder, { signal })) {
    const name = info.key.slice(folder.length);
    const isCommit = /^\d{20}\.json$/u.test(name);
    if (!isCommit && checkpointVersion(name) === undefined) continue;
    if (Number(name.slice(0, 20)) >= last || info.modifiedMs >= beforeMs) break;
    old.push(info);
  }
  return old;
}
