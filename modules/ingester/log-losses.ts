/**
 * Detects lost logs from the tables in the bucket. A table records the log of its spans, the offset
 * that it has reached, and the durable end of the log at the last commit. So even a log that was
 * lost with its disk is detected.
 *
 * Tables know the ends of partitions, not of tenants. If a record of one tenant is not stored and
 * lies below a stored record of another tenant, only `log-ends.json` beside the log detects it.
 */
import type { Snapshot } from "#pkg/table/table.ts";

/** Returns the appId whose transaction holds the durable end of a partition's log at a commit. */
export function endAppId(appId: string): string {
  return `${appId}/end`;
}

/** A partition of a log that this process does not have, with records that are in no block. */
export interface MissingLog {
  logId: string;
  partitionCount: number;
  partition: number;
  /** Records in [committedTo, end) were durable, and no table has them. */
  committedTo: number;
  end: number;
}

const appIdPattern = /^([0-9a-f]{32})\/(\d+)\/(\d+)(\/end)?$/;

/** Returns the highest durable end of a partition that any table has recorded; 0: unknown. */
export function knownEnd(snapshots: Iterable<Snapshot>, appId: string): number {
  let end = 0;
  for (const { transactions } of snapshots) {
    end = Math.max(end, transactions.get(endAppId(appId)) ?? 0);
  }
  return end;
}

/** Finds logs other than `ownLogId` that acknowledged records which no table has. */
export function findMissingLogs(snapshots: Iterable<Snapshot>, ownLogId: string): MissingLog[] {
  const found = new Map<string, MissingLog>();
  for (const { transactions } of snapshots) {
    for (const [appId, version] of transactions) {
      const match = appIdPattern.exec(appId);
      if (match === null || match[1] === ownLogId) continue;
      const [, logId, count, index, isEnd] = match;
      const key = `${logId}/${count}/${index}`;
      const partitionCount = Number(count);
      const place = { logId, partitionCount, partition: Number(index) };
      const known = found.get(key) ?? { ...place, committedTo: 0, end: 0 };
      if (isEnd === undefined) known.committedTo = Math.max(known.committedTo, version);
      else known.end = Math.max(known.end, version);
      found.set(key, known);
    }
  }
  return [...found.values()].filter(({ committedTo, end }) => end > committedTo);
}
