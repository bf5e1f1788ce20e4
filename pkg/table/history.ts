/** Reads the table's log forward: what was committed after a snapshot. */
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import { newerFormat } from "#pkg/errors/reasons.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import type { StartThread } from "#pkg/rpc/thread.ts";
import { checkpointVersion, lastCheckpoint, readCheckpoint } from "./checkpoint.ts";
import { type Commit, commitBytesMax, decodeCommit } from "./commit.ts";
import { corrupt } from "./json.ts";
import { SnapshotBuilder } from "./snapshot.ts";
import type { Snapshot } from "./model.ts";

/** Commits that are read at a time. */
const parallelReads = 32;
/** Most commits after a snapshot. The log is checkpointed long before. */
const listedMax = 1_000_000;
/** Commits that cost more to read one by one than a checkpoint behind them. */
const jumpCommitsMin = 100;
/** Latest version: 20 digits could name versions that a JavaScript number does not hold. */
const versionMax = 2 ** 53 - 2;

export interface ReadForward {
  store: ObjectStore;
  tenant: string;
  /** The snapshot to start from. */
  base: Snapshot;
  /** Gets the commits that could be read before one could not: the next try goes on from there. */
  keep(partial: Snapshot): void;
  /** Gets why a checkpoint could not be read; what it covers is then looked for elsewhere. */
  onBadCheckpoint(error: SpoorError): void;
  /** Starts the thread that reads a checkpoint; a worker thread unless given. */
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
  /** There are checkpoints, or traces of them. */
  hasCheckpoint: boolean;
}

/** "<tenant>/_delta_log/00000000000000000012.json". */
export function commitKey(tenant: string, version: number): string {
  return `${logFolder(tenant)}${String(version).padStart(20, "0")}.json`;
}

function logFolder(tenant: string): string {
  return `${tenant}/_delta_log/`;
}

/**
 * The snapshot after all commits that are in the store now; the same object if there is none new.
 * One list request, then one get for each new commit. From nothing: one get for the hint at a
 * checkpoint, one for the checkpoint, and only the commits behind it.
 */
export async function readForward(request: ReadForward): Promise<Snapshot> {
  const hinted = request.base.version < 0 ? await fromHint(request) : undefined;
  const known = hinted ?? request.base;
  const listing = await listCommits(request, known.version);
  const base = await jump(request, known, listing);
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

/** The snapshot of the checkpoint that is said to be the last; undefined if there is none. */
async function fromHint(request: ReadForward): Promise<Snapshot | undefined> {
  const version = await lastCheckpoint(request);
  return version === undefined ? undefined : await tryCheckpoint(request, version);
}

/**
 * Goes on from a checkpoint where commits between `base` and it were cleaned up, or are so many
 * that reading them takes longer. Throws if the table has more than can be read.
 */
async function jump(request: ReadForward, base: Snapshot, listing: Listing): Promise<Snapshot> {
  const { latest, checkpoints, hasCheckpoint } = listing;
  const missingVersion = firstMissing(base.version, listing);
  const newest = checkpoints.at(-1) ?? -1;
  const isFar = newest - base.version > jumpCommitsMin;
  for (const version of checkpoints.toReversed()) {
    if (version <= base.version || (version < missingVersion && !isFar)) break;
    const found = await tryCheckpoint(request, version);
    if (found !== undefined) return found;
  }
  if (latest < 0 && hasCheckpoint) throw missing(request, listing, 0);
  // The commit of a checkpoint stays: one without it lost its commits.
  if (newest > latest) throw missing(request, { ...listing, latest: newest }, latest + 1);
  return base;
}

/** The first version behind the base that the listing lacks. */
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
    // A table that a newer version of Spoor writes must not be read in another way.
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
 * Undefined if there is no such commit. A version that the listing lacks is asked for all the same:
 * a disk's folder may show version 8 and not 7 when both came while it was read.
 */
async function readCommit(
  request: ReadForward,
  listing: Listing,
  version: number,
): Promise<Commit | undefined> {
  const key = commitKey(request.tenant, version);
  const sizeBytes = listing.sizes.get(version) ?? 0;
  if (sizeBytes > commitBytesMax) {
    throw corrupt(`commit ${key}`, `${sizeBytes} bytes are over ${commitBytesMax}`);
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
    const message = `read table ${tenant}: ${begins}, and no checkpoint of it can be read`;
    return new SpoorError("Corrupt", message, { reason: "checkpoint_needed" });
  }
  const later = `commit ${listing.latest} exists`;
  return corrupt(`commit ${commitKey(tenant, version)}`, `it is missing while ${later}`);
}

function tooLong(tenant: string): SpoorError {
  const message = `read table ${tenant}: over ${listedMax} commits to read at once`;
  return new SpoorError("Unavailable", message, { reason: "log_too_long" });
}
