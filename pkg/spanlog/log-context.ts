/** State that the parts of one open file log share: its identity, limits and counters. */
import type { Clock } from "#pkg/clock/clock.ts";
import { claimLost, ownerLost, SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import type { LogFs } from "./log-fs.ts";
import type { ConsumerConfig, LogDamage, RefusedReason } from "./span-log.ts";

export interface LogBounds {
  /** Size at which a segment is full and a new one begins. */
  segmentBytesMax: number;
  /** Maximum bytes of records in one write. */
  groupBytesMax: number;
  /** Time that the first record of a group waits for others under load; 0: none. */
  groupLingerMs: number;
  /** A fully trimmed active segment above this size is replaced, so that an idle log gets small. */
  trimRotateBytes: number;
  /** Maximum bytes of all segment files, including trimmed records in them. */
  bytesMax: number;
  /** Maximum bytes of records that wait in memory. */
  pendingBytesMax: number;
  /** Free bytes on the disk below which appends are refused. */
  freeBytesMin: number;
  recordBytesMax: number;
  retryWindowMs: number;
  /** Entries of the retry memory per partition. */
  retryEntriesMax: number;
}

/** Counters, which the parts of the log increment; `SpanLogStats` describes them. */
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
  /** Fencing number of this process, larger than those of all earlier owners. */
  owner: number;
  /** Returns whether this process is certainly still the only writer of the log. */
  isOwner: () => boolean;
  /**
   * Monotonic time until which duplicates are also searched by the hash of the record, because
   * records of format 1 have no request key.
   */
  oldHashesUntilMs: number;
  fs: LogFs;
  clock: Clock;
  log: Log;
  bounds: LogBounds;
  /** Consumers besides the ingesters, with limits per partition. */
  consumers: readonly ConsumerConfig[];
  counters: LogCounters;
  /** Called with the time that a group of records took to write and sync, milliseconds. */
  onGroup: (durationMs: number) => void;
  damage: LogDamage[];
  /** Partition -> an offset that the log has reached, from `log-ends.json`. */
  knownEnds: readonly number[];
}

const DAMAGE_ENTRIES_MAX = 1000;

/** Reports damage: counts it, adds it to the list and logs it. */
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
 * between each fsync and its acknowledgement, and before each change of a file that others read.
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
    "behind, records may be gone; it must rejoin";
  return new SpoorError("NotFound", message, { reason: claimLost });
}

/** Returns the error of a failed disk operation; the client may retry. */
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
