/** Reads the table's log forward: applies the commits after a snapshot. */
import { hasCode, newerFormat, SpoorError } from "#pkg/errors/errors.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import type { StartThread } from "#pkg/threads/threads.ts";
import { checkpointVersion, lastCheckpoint, readCheckpoint } from "./checkpoint.ts";
import { type Commit, commitBytesMax, decodeCommit } from "./commit.ts";
import { corrupt } from "./json.ts";
import { SnapshotBuilder } from "./snapshot.ts";
import type { Snapshot } from "./table-model.ts";

/** Commits that are read concurrently. */
const parallelReads = 32;
/** Maximum commits after a snapshot. Checkpoints are far more frequent. */
const listedMax = 1_000_000;
/** Above this number of commits, reading a later checkpoint costs less than reading them. */
const skippedCommitsMin = 100;
/** Maximum version: 20 digits can exceed the range of a JavaScript number. */
const versionMax = 2 ** 53 - 2;

export interface ReadForward {
  store: ObjectStore;
  tenant: string;
  /** The snapshot to start from. */
  base: Snapshot;
  /** Receives the snapshot before the first unreadable commit; the next attempt starts there. */
  keep(partial: Snapshot): void;
  /** Receives the error of an unreadable checkpoint; its commits are then read instead. */
  onBadCheckpoint(error: SpoorError): void;
  /** Starts the thread that reads a checkpoint; a worker thread by default. */
  startThread?: StartThread;
  signal?: AbortSignal;
}

interface Listing {
  /** Version -> size in bytes. */
  sizes: ReadonlyMap<number, number>;
  latest: number;
  /** First version listed. */
  first: number | undefined;
  /** Versions of checkpoints, ascending. */
  checkpoints: readonly number[];
  /** There is a checkpoint of any kind, or a hint. */
  hasCheckpoint: boolean;
}

/** Returns "<tenant>/_delta_log/00000000000000000012.json". */
export function commitKey(tenant: string, version: number): string {
  return `${logFolder(tenant)}${String(version).padStart(20, "0")}.json`;
}

function logFolder(tenant: string): string {
  return `${tenant}/_delta_log/`;
}

/**
 * Returns the snapshot after all commits in the store; `base` itself if there is no new one. Makes
 * one list request, then one get per new commit. From an empty base it first gets the hint and the
 * checkpoint, and then only later commits.
 */
export async function readForward(request: ReadForward): Promise<Snapshot> {
  const hinted = request.base.version < 0 ? await fromHint(request) : undefined;
  const known = hinted ?? request.base;
  const listing = await listCommits(request, known.version);
  const base = await skipToCheckpoint(request, known, listing);
  const target = Math.max(listing.latest, base.version);
  if (target === base.version) return base;
  const builder = new SnapshotBuilder(base);
  try {
    for (let start = base.version + 1; start <= target; start += parallelReads) {
      await applyBatch(request, builder, { listing, start, target });
    }
  } catch (error) {
    const partial = builder.finish();
    if (partial.version > base.version) request.keep(partial);
    throw error;
  }
  return builder.finish();
}

/** Returns the snapshot of the checkpoint that the hint names; undefined if there is none. */
async function fromHint(request: ReadForward): Promise<Snapshot | undefined> {
  const version = await lastCheckpoint(request);
  return version === undefined ? undefined : await tryCheckpoint(request, version);
}

/**
 * Returns the snapshot of a later checkpoint if commits before it were deleted, or are so many that
 * reading them costs more; else `base`. Throws if the table has versions that cannot be read.
 */
async function skipToCheckpoint(
  request: ReadForward,
  base: Snapshot,
  listing: Listing,
): Promise<Snapshot> {
  const { latest, checkpoints, hasCheckpoint } = listing;
  const missingVersion = firstMissing(base.version, listing);
  const newest = checkpoints.at(-1) ?? -1;
  const isFar = newest - base.version > skippedCommitsMin;
  for (const version of checkpoints.toReversed()) {
    if (version <= base.version || (version < missingVersion && !isFar)) break;
    const found = await tryCheckpoint(request, version);
    if (found !== undefined) return found;
  }
  if (latest < 0 && hasCheckpoint) throw missing(request, listing, 0);
  // A clean-up keeps the commit of the last checkpoint; if it is missing, commits are lost.
  if (newest > latest) throw missing(request, { ...listing, latest: newest }, latest + 1);
  return base;
}

/** Returns the first version after the base that the listing lacks. */
function firstMissing(baseVersion: number, { sizes }: Listing): number {
  let version = baseVersion + 1;
  while (sizes.has(version)) version++;
  return version;
}

async function tryCheckpoint(request: ReadForward, version: number): Promise<Snapshot | undefined> {
  try {
    return await readCheckpoint(version, request);
  } catch (error) {
    if (!hasCode(error, "Corrupt") && !hasCode(error, "NotFound")) throw error;
    // The commits of a table in a newer format must not be read instead.
    if (error.reason === newerFormat) throw error;
    request.onBadCheckpoint(error);
    return undefined;
  }
}

async function applyBatch(
  request: ReadForward,
  builder: SnapshotBuilder,
  batch: { listing: Listing; start: number; target: number },
): Promise<void> {
  const { listing, start, target } = batch;
  const reads: Promise<Commit | undefined>[] = [];
  for (let version = start; version <= target && version < start + parallelReads; version++) {
    reads.push(readCommit(request, listing, version));
  }
  for (const [index, read] of (await Promise.allSettled(reads)).entries()) {
    const version = start + index;
    if (read.status === "rejected") throw read.reason;
    if (read.value === undefined) throw missing(request, listing, version);
    builder.apply(read.value, commitKey(request.tenant, version));
  }
}

async function listCommits(request: ReadForward, baseVersion: number): Promise<Listing> {
  const { store, tenant } = request;
  const folder = logFolder(tenant);
  const startAfter = baseVersion < 0 ? "" : commitKey(tenant, baseVersion);
  const sizes = new Map<number, number>();
  const checkpoints: number[] = [];
  let latest = baseVersion;
  let first: number | undefined;
  let hasCheckpoint = false;
  for await (const info of store.list(folder, { startAfter })) {
    const name = info.key.slice(folder.length);
    if (name === "_last_checkpoint" || /^\d{20}\.checkpoint\./u.test(name)) hasCheckpoint = true;
    const checkpoint = checkpointVersion(name);
    if (checkpoint === undefined && !/^\d{20}\.json$/u.test(name)) continue;
    const version = Number(name.slice(0, 20));
    if (version > versionMax) throw corrupt(`commit ${info.key}`, "its version is out of range");
    if (checkpoint !== undefined) checkpoints.push(checkpoint);
    else {
      if (sizes.size === listedMax) throw tooLong(tenant);
      sizes.set(version, info.sizeBytes);
      first ??= version;
      latest = Math.max(latest, version);
    }
  }
  return { sizes, latest, first, checkpoints, hasCheckpoint };
}

/**
 * Returns undefined if there is no such commit. A version that the listing lacks is read, too: the
 * listing of a disk's folder may show version 8 but not 7 if both were written meanwhile.
 */
async function readCommit(
  request: ReadForward,
  listing: Listing,
  version: number,
): Promise<Commit | undefined> {
  const key = commitKey(request.tenant, version);
  const sizeBytes = listing.sizes.get(version) ?? 0;
  if (sizeBytes > commitBytesMax) {
    throw corrupt(`commit ${key}`, `${sizeBytes} bytes exceed ${commitBytesMax}`);
  }
  try {
    return decodeCommit(await request.store.get(key), key);
  } catch (error) {
    if (hasCode(error, "NotFound")) return undefined;
    throw error;
  }
}

function missing(request: ReadForward, listing: Listing, version: number): SpoorError {
  const { tenant, base } = request;
  if (base.version < 0 && version === 0) {
    const begins = `the log begins at version ${listing.first ?? "of a checkpoint"}, not 0`;
    const message = `read table ${tenant}: ${begins}, and it has no readable checkpoint`;
    return new SpoorError("Corrupt", message, { reason: "checkpoint_needed" });
  }
  const later = `commit ${listing.latest} exists`;
  return corrupt(`commit ${commitKey(tenant, version)}`, `it is missing while ${later}`);
}

function tooLong(tenant: string): SpoorError {
  const message = `read table ${tenant}: over ${listedMax} commits since the last checkpoint`;
  return new SpoorError("Unavailable", message, { reason: "log_too_long" });
}
