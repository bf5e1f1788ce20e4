/** Removes blocks past their retention from a tenant's table; `garbage.ts` deletes the objects. */
import { blockTimeMs } from "#pkg/block/block.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import type { BlockFile, Table } from "#pkg/table/table.ts";
import type { CompactorConfig } from "./config.ts";

export interface ExpireOptions {
  table: Table;
  config: CompactorConfig;
  retentionMs: number;
  nowMs: number;
  signal?: AbortSignal;
  /** Called after each commit. */
  onRemoved: (blocks: number) => void;
  /** Called when another writer won. */
  onConflict: () => void;
}

/** Removes expired blocks. A block without a ULID in its name is not Spoor's and stays. */
export async function expireBlocks(options: ExpireOptions): Promise<void> {
  const { table, config, signal, onRemoved, onConflict } = options;
  const snapshot = await table.refresh({ signal });
  const expired = expiredBlocks(snapshot.files.values(), options);
  for (let at = 0; at < expired.length; at += config.removesPerCommit) {
    const remove = expired.slice(at, at + config.removesPerCommit);
    try {
      await table.commit({ remove, operation: "DELETE", dataChange: true }, { signal });
      onRemoved(remove.length);
    } catch (error) {
      // Another writer removed some of the blocks, or replaced them by a larger block.
      if (!hasCode(error, "Conflict")) throw error;
      onConflict();
      return;
    }
  }
}

/** Returns the paths of blocks past retention, oldest first. */
function expiredBlocks(
  files: Iterable<BlockFile>,
  { config, retentionMs, nowMs }: ExpireOptions,
): string[] {
  const expired: { path: string; timeMs: number }[] = [];
  for (const { path } of files) {
    const timeMs = blockTimeMs(path);
    if (timeMs !== undefined && timeMs + retentionMs <= nowMs) expired.push({ path, timeMs });
  }
  expired.sort((a, b) => a.timeMs - b.timeMs);
  return expired.slice(0, config.removesPerCycle).map(({ path }) => path);
}
