/**
 * Deletes block objects that nothing needs: those of blocks that were removed a while ago, and
 * those that no commit ever named, when they are so old that none will.
 *
 *     object below <tenant>/blocks/   in the table    -> stays
 *                                     removed         -> deleted when the grace period is over
 *                                     never named     -> deleted when its ULID and its modification
 *                                                        are both older than the orphan age
 *                                     temporary       -> as if never named; it has no ULID: left by
 *                                                        a process that died assembling a block
 *                                     not a ULID      -> stays: it is not ours
 *
 * The table is read after the listing: what was committed meanwhile is known.
 */
import { blockTimeMs } from "#pkg/block/block-file.ts";
import type { ObjectInfo, ObjectStore } from "#pkg/objstore/objstore.ts";
import { isTemporary } from "#pkg/objstore/temporaries.ts";
import type { Snapshot, Table } from "#pkg/table/table.ts";
import type { CompactorConfig } from "./config.ts";

export interface GarbageOptions {
  store: ObjectStore;
  table: Table;
  config: CompactorConfig;
  nowMs: number;
  /** Key to start after; undefined: from the first. */
  startAfter: string | undefined;
  signal?: AbortSignal;
  /** Called for each deleted object. */
  onDeleted: (reason: GarbageReason, sizeBytes: number) => void;
}

export type GarbageReason = "removed" | "orphan";

export interface GarbageResult {
  /** Where the next cycle goes on; undefined: all objects were looked at. */
  startAfter: string | undefined;
  unknownObjects: number;
}

/** Objects that are listed, looked up in one snapshot and deleted together. */
const batchSize = 1000;

export async function deleteGarbage(options: GarbageOptions): Promise<GarbageResult> {
  const { store, table, config, signal } = options;
  const prefix = `${table.tenant}/blocks/`;
  let startAfter = options.startAfter;
  let unknownObjects = 0;
  for (let listed = 0; listed < config.listedPerCycle;) {
    const size = Math.min(batchSize, config.listedPerCycle - listed);
    const batch = await listSome(store, prefix, { startAfter, signal }, size);
    unknownObjects += batch.filter((info) => madeMs(info) === undefined).length;
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
  // One request less where the snapshot at hand shows that all are needed.
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
  const timeMs = madeMs({ key, modifiedMs });
  if (timeMs === undefined) return undefined;
  return timeMs + config.orphanAgeMs <= nowMs ? "orphan" : undefined;
}

/** The later of the times that an object's name and its store tell; undefined: not ours. */
function madeMs({ key, modifiedMs }: Pick<ObjectInfo, "key" | "modifiedMs">): number | undefined {
  const timeMs = isTemporary(key) ? modifiedMs : blockTimeMs(key);
  return timeMs === undefined ? undefined : Math.max(timeMs, modifiedMs);
}
