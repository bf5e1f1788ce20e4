/**
 * Deletes commits that a checkpoint covers, when they are so old that nobody reads them.
 *
 * A name that is freed could be created again: by a writer that knows nothing newer, whose commit
 * nobody would read. So only commits of a certain age go, and writers that have not looked for a
 * part of that time look first (table.ts).
 */
import type { ObjectInfo } from "#pkg/objstore/objstore.ts";
import { type CheckpointOptions, checkpointVersion, lastCheckpoint } from "./checkpoint.ts";
import { readCheckpoint } from "./checkpoint.ts";

export interface CleanUpOptions extends CheckpointOptions {
  /** What was modified before this time is old, milliseconds since the epoch. */
  beforeMs: number;
}

/** Commits younger than this are never deleted. One hour. */
export const commitAgeMinMs = 3_600_000;
/** Objects of one delete. */
const batchSize = 500;

/**
 * Deletes old commits and checkpoints from the first one up to the last checkpoint, which must be
 * readable and whose commit stays. Returns how many objects. Ends at the first that is young, so
 * that what is left has no gap. Throws what the store throws, and Corrupt for a bad checkpoint.
 */
export async function cleanUpLog(options: CleanUpOptions): Promise<number> {
  const { store, signal } = options;
  const last = await lastCheckpoint(options);
  if (last === undefined) return 0;
  const old = await oldObjects(options, last);
  if (old.length === 0) return 0;
  // Nothing is deleted on the word of a hint alone.
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
