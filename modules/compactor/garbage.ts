/**
 * Deletes block objects that nothing needs: objects of removed blocks after a grace period, and
 * orphans, which no commit names and which are too old for a pending commit.
 *
 *     object below <tenant>/blocks/   in the table    -> stays
 *                                     removed         -> deleted after the grace period
 *                                     never named     -> deleted when its ULID and its modification
 *                                                        time are both older than the orphan age
 *                                     temporary       -> like "never named", by modification time;
 *                                                        left by a process that died in an assembly
 *                                     no ULID         -> stays: Spoor did not write it
 *
 * The table is read after the listing, so that commits during the listing are known.
 */
import { blockTimeMs } from "#pkg/block/block.ts";
import { isTemporary, type ObjectInfo, type ObjectStore } from "#pkg/objstore/objstore.ts";
import type { Snapshot, Table } from "#pkg/table/table.ts";
import type { CompactorConfig } from "./config.ts";

export interface GarbageOptions {
  store: ObjectStore;
  table: Table;
  config: CompactorConfig;
  nowMs: number;
  /** Key to start after; undefined: start at the first. */
  startAfter: string | undefined;
  signal?: AbortSignal;
  /** Called for each deleted object. */
  onDeleted: (reason: GarbageReason, sizeBytes: number) => void;
}

export type GarbageReason = "removed" | "orphan";

export interface GarbageResult {
  /** Key where the next cycle continues; undefined: the listing is complete. */
  startAfter: string | undefined;
  /** Objects that Spoor did not write. */
  unknownObjects: number;
}

/** Objects that are listed, checked against one snapshot and deleted together. */
const batchSize = 1000;

/** Deletes the garbage of one tenant, at most `listedPerCycle` objects of the listing. */
export async function deleteGarbage(options: GarbageOptions): Promise<GarbageResult> {
  const { store, table, config, signal } = options;
  const prefix = `${table.tenant}/blocks/`;
  let startAfter = options.startAfter;
  let unknownObjects = 0;
  for (let listed = 0; listed < config.listedPerCycle;) {
    const size = Math.min(batchSize, config.listedPerCycle - listed);
    const batch = await listSome(store, prefix, { startAfter, signal }, size);
    unknownObjects += batch.filter((info) => createdMs(info) === undefined).length;
    await deleteFrom(batch, options);
    if (batch.length < size) return { startAfter: undefined, unknownObjects };
    listed += batch.length;
    startAfter = batch.at(-1)!.key;
  }
  return { startAfter, unknownObjects };
}

async function listSome(
  store: ObjectStore,
  prefix: string,
  options: { startAfter: string | undefined; signal?: AbortSignal },
  size: number,
): Promise<ObjectInfo[]> {
  const out: ObjectInfo[] = [];
  for await (const info of store.list(prefix, options)) {
    out.push(info);
    if (out.length === size) break;
  }
  return out;
}

async function deleteFrom(batch: readonly ObjectInfo[], options: GarbageOptions): Promise<void> {
  const { store, table, signal, onDeleted } = options;
  // Saves the refresh if all objects are needed by the known snapshot.
  if (!batch.some((info) => garbageReason(info, table.snapshot, options) !== undefined)) return;
  const snapshot = await table.refresh({ signal });
  const garbage = batch.flatMap((info) => {
    const reason = garbageReason(info, snapshot, options);
    return reason === undefined ? [] : [{ info, reason }];
  });
  if (garbage.length === 0) return;
  const keys = garbage.map(({ info }) => info.key);
  await store.deleteMany(keys, { signal });
  for (const { info, reason } of garbage) onDeleted(reason, info.sizeBytes);
}

function garbageReason(
  { key, modifiedMs }: ObjectInfo,
  snapshot: Snapshot,
  { table, config, nowMs }: GarbageOptions,
): GarbageReason | undefined {
  const path = key.slice(table.tenant.length + 1);
  if (!path.startsWith("blocks/") || snapshot.files.has(path)) return undefined;
  const tombstone = snapshot.tombstones.get(path);
  if (tombstone !== undefined) {
    return tombstone.deletedMs + config.deleteGraceMs <= nowMs ? "removed" : undefined;
  }
  const timeMs = createdMs({ key, modifiedMs });
  if (timeMs === undefined) return undefined;
  return timeMs + config.orphanAgeMs <= nowMs ? "orphan" : undefined;
}

/** Returns the later of an object's ULID and modification times; undefined: not Spoor's. */
function createdMs({
  key,
  modifiedMs,
}: Pick<ObjectInfo, "key" | "modifiedMs">): number | undefined {
  const timeMs = isTemporary(key) ? modifiedMs : blockTimeMs(key);
  return timeMs === undefined ? undefined : Math.max(timeMs, modifiedMs);
}
