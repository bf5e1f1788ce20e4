/**
 * What the tables in the bucket say about logs: which log their spans came from, how far they have
 * it, and how far it was durable when they last committed. So a log that was lost with its disk is
 * noticed as well. They know ends of partitions, not of tenants: a record of one tenant that is not
 * stored, below a stored one of another tenant, is found by `log-ends.json` beside the log alone.
 */
import type { Snapshot } from "#pkg/table/table.ts";

/** The transaction beside a partition's own: how far its log was durable at the commit. */
export function endAppId(appId: string): string {
  return `${appId}/end`;
}

/** A partition of a log that is not this process's, with records that are in no block. */
export interface MissingLog {
  logId: string;
  partitionCount: number;
  partition: number;
  /** No table has a record from here on; all below `end` were durable. */
  committedTo: number;
  end: number;
}

const appIdPattern = /^([0-9a-f]{32})\/(\d+)\/(\d+)(\/end)?$/;

/** How far all tables together know a partition of this log to have been durable; 0: unknown. */
export function knownEnd(snapshots: Iterable<Snapshot>, appId: string): number {
  let end = 0;
  for (const { transactions } of snapshots) {
    end = Math.max(end, transactions.get(endAppId(appId)) ?? 0);
  }
  return end;
}

/** Finds logs other than `ownLogId` that had acknowledged more than the tables have. */
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
