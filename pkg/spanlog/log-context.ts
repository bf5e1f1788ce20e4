/** What the parts of one open file log share: its identity, its bounds, its counters. */
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { claimLost, ownerLost } from "#pkg/errors/reasons.ts";
import type { Log } from "#pkg/log/log.ts";
import type { LogFs } from "./log-fs.ts";
import type { ConsumerConfig, LogDamage, RefusedReason } from "./spanlog.ts";

export interface LogBounds {
  /** A segment that reached this size is followed by a new one. */
  segmentBytesMax: number;
  /** At most so many bytes of records in one write. */
  groupBytesMax: number;
  /** How long, under load, the first record of a group waits for others; 0: for none. */
  groupLingerMs: number;
  /** A fully trimmed active segment larger than this is given up: a quiet log gets small. */
  trimRotateBytes: number;
  /** Of records in files, trimmed or not as long as their segment is there. */
  bytesMax: number;
  /** Of records that wait in memory to be durable. */
  pendingBytesMax: number;
  /** Free bytes on the disk below which appends are refused. */
  freeBytesMin: number;
  recordBytesMax: number;
  retryWindowMs: number;
  /** Entries of the retry memory per partition. */
  retryEntriesMax: number;
}

/** Plain numbers, added to where the thing happens; `SpanLogStats` says what they mean. */
export interface LogCounters {
  bytes: number;
  pendingBytes: number;
  pendingRecords: number;
  appendedRecordsTotal: number;
  appendedBytesTotal: number;
  groupsTotal: number;
  fsyncsTotal: number;
  duplicatesTotal: number;
  writeFailuresTotal: number;
  truncatedTailsTotal: number;
  fencedRecordsTotal: number;
  damagesTotal: number;
  refusedTotal: Record<RefusedReason, number>;
}

export interface LogContext {
  dir: string;
  logId: string;
  /** Fencing number of this process: larger than that of each one that had the log before. */
  owner: number;
  /** Whether this process is certainly still the only one that writes to the log. */
  isOwner: () => boolean;
  /**
   * Until then, by the monotonic clock, a request is looked for by its record's hash too: records
   * of format 1 have no request key.
   */
  oldHashesUntilMs: number;
  fs: LogFs;
  clock: Clock;
  log: Log;
  bounds: LogBounds;
  /** Consumers besides the ingesters, with bounds for each partition. */
  consumers: readonly ConsumerConfig[];
  counters: LogCounters;
  /** Told how long each group of records took to write and to sync, milliseconds. */
  onGroup: (durationMs: number) => void;
  damage: LogDamage[];
  /** Partition -> an offset that the log is known to have reached. */
  knownEnds: readonly number[];
}

const DAMAGE_ENTRIES_MAX = 1000;

/** Damage is never silent: a log line, a count, and an entry in the list. */
export function reportDamage(context: LogContext, damage: LogDamage): void {
  context.counters.damagesTotal++;
  if (context.damage.length >= DAMAGE_ENTRIES_MAX) return;
  context.damage.push(damage);
  context.log.error({ ...damage }, "log is damaged");
}

export function newCounters(): LogCounters {
  return {
    bytes: 0,
    pendingBytes: 0,
    pendingRecords: 0,
    appendedRecordsTotal: 0,
    appendedBytesTotal: 0,
    groupsTotal: 0,
    fsyncsTotal: 0,
    duplicatesTotal: 0,
    writeFailuresTotal: 0,
    truncatedTailsTotal: 0,
    fencedRecordsTotal: 0,
    damagesTotal: 0,
    refusedTotal: { log_full: 0, log_busy: 0, disk_space_low: 0 },
  };
}

export function partitionFolder(dir: string, partition: number): string {
  return `${dir}/p${partition}`;
}

/**
 * Throws Unavailable `log_owner_lost` unless this process certainly still owns the log. Called
 * between each fsync and its acknowledgement, and before a file that others read is changed.
 */
export function assertOwner({ dir, isOwner }: LogContext): void {
  if (isOwner()) return;
  const message = `the log ${dir} is no longer known to be this process's own: nothing is written`;
  throw new SpoorError("Unavailable", message, { reason: ownerLost, retryAfterMs: 1000 });
}

export function isOwnerLost(error: unknown): error is SpoorError {
  return error instanceof SpoorError && error.reason === ownerLost;
}

export function claimLostError(consumer: string, folder: string, position: number): SpoorError {
  const message =
    `consumer ${consumer} has lost its claim on ${folder} at offset ${position}: it was too far ` +
    "behind, records may be gone; it must join again";
  return new SpoorError("NotFound", message, { reason: claimLost });
}

/** A disk operation failed; the client may send the same again. */
export function writeFailed(what: string, cause: unknown): SpoorError {
  return new SpoorError("Unavailable", `${what}: ${errorText(cause)}`, {
    cause,
    reason: "log_write_failed",
    retryAfterMs: 1000,
  });
}

export function logClosed(what: string): SpoorError {
  return new SpoorError("Unavailable", `${what} the log: it is closed`, {
    reason: "log_closed",
    retryAfterMs: 1000,
  });
}

export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
