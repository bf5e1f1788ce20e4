/**
 * A tenant's set of blocks, as a log of atomic commits in the Delta Lake format (FORMAT.md).
 *
 *     <tenant>/_delta_log/00000000000000000000.json   commit 0: protocol, metaData, add, txn
 *     <tenant>/_delta_log/00000000000000000001.json   commit 1: add, txn
 *     <tenant>/<path of a block>                      in the table if and only if a commit says so
 *
 * Readers take an immutable Snapshot, and refresh to get a later one. Writers commit adds, removes,
 * new columns and the log offset that they have reached in one conditional create.
 */
import { randomUUID } from "node:crypto";
import { type Clock, type ClockReading, longestSinceMs, readClock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { abortable, checkKey, checkSignal, type ObjectStore } from "#pkg/objstore/objstore.ts";
import type { StartThread } from "#pkg/threads/threads.ts";
import { type Attempt, checkChange, type Plan, planCommit } from "./change.ts";
import { lastCheckpoint, writeCheckpoint } from "./checkpoint.ts";
import { cleanUpLog, commitAgeMinMs } from "./clean-up.ts";
import { commitKey, readForward } from "./history.ts";
import type { Change, CommitResult, Snapshot } from "./table-model.ts";
import { putCommit } from "./place.ts";
import { emptySnapshot, SnapshotBuilder, withoutOldTombstones } from "./snapshot.ts";

export type {
  BlockFile,
  Change,
  ColumnDef,
  ColumnType,
  CommitResult,
  Snapshot,
} from "./table-model.ts";

export interface TableOptions {
  store: ObjectStore;
  /** Name of the tenant, one segment of a key. */
  tenant: string;
  clock: Clock;
  log: Log;
  /** Starts the threads that write and read checkpoints; worker threads by default. */
  startThread?: StartThread;
}

export interface RefreshOptions {
  /** No request is made if the known snapshot has this version. */
  minVersion?: number;
  signal?: AbortSignal;
}

export interface CheckpointPolicy {
  /** Commits after the last checkpoint that make the next one due. */
  commitsMin: number;
  /** Tombstones from before this time are dropped, milliseconds since the epoch. */
  removedBeforeMs: number;
  signal?: AbortSignal;
}

export interface CommitOptions {
  signal?: AbortSignal;
}

/** Maximum versions that one commit tries. Another writer won each version that it lost. */
const versionsTriedMax = 256;

/** Opens a table without a request: it may not exist yet; its first commit creates it. */
export function openTable(options: TableOptions): Table {
  const { tenant } = options;
  checkKey(tenant);
  if (tenant.includes("/")) {
    throw new SpoorError("InvalidInput", `open table ${tenant}: a tenant's name has no slash`);
  }
  return new Table(options);
}

/** A client of one table. Any number of clients, in any processes, may read and commit. */
export class Table {
  readonly tenant: string;
  readonly #store: ObjectStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #startThread: StartThread | undefined;
  #snapshot: Snapshot = emptySnapshot();
  /** Newest known version of a checkpoint; -1: none. */
  #checkpoint = -1;
  /** When the snapshot was last known to be the latest, milliseconds since the epoch. */
  #latest: ClockReading = { wallMs: 0, monotonicMs: Number.NEGATIVE_INFINITY };
  #running: Promise<void> | undefined;
  #waiting: Promise<void> | undefined;

  constructor(options: TableOptions) {
    this.tenant = options.tenant;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#startThread = options.startThread;
    this.#log = options.log.child({ tenant: options.tenant });
  }

  /** The latest known snapshot; makes no request. */
  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  /**
   * Returns a snapshot with all commits that were in the store at the time of the call, or at least
   * with `minVersion`. Makes one list request if nothing is new. Concurrent calls share requests.
   *
   * Throws Corrupt, naming key and line, if a commit cannot be read, is missing, or needs a newer
   * Spoor ("newer_format"); Unavailable, "snapshot_behind", if `minVersion` is not committed yet.
   */
  async refresh(options: RefreshOptions = {}): Promise<Snapshot> {
    const { minVersion, signal } = options;
    if (minVersion !== undefined && this.#snapshot.version >= minVersion) return this.#snapshot;
    checkSignal(signal, `refresh table ${this.tenant}`);
    await abortable(this.#sharedRead(), signal, `refresh table ${this.tenant}`);
    const { version } = this.#snapshot;
    if (minVersion !== undefined && version < minVersion) {
      const message = `refresh table ${this.tenant}: it is at ${version}, not at ${minVersion} yet`;
      throw new SpoorError("Unavailable", message, { reason: "snapshot_behind" });
    }
    return this.#snapshot;
  }

  /**
   * Commits a change at the next free version, unless it contradicts concurrent commits. Makes one
   * PUT if the snapshot was up to date.
   *
   * These errors mean that nothing was committed: InvalidInput, TooLarge, LimitExceeded, Corrupt,
   * and Conflict with the reason "transaction_changed", "input_gone", "path_exists",
   * "schema_conflict" or "too_many_columns". Conflict "already_committed" means that an earlier
   * call with the same transaction and blocks succeeded. After any other error, above all
   * "commit_outcome_unknown", the change may be in the table: call again with the same change, or
   * read the table, and never delete its blocks.
   */
  async commit(change: Change, options: CommitOptions = {}): Promise<CommitResult> {
    const { tenant } = this;
    const { signal } = options;
    checkChange(tenant, change);
    const attempt = { tenant, id: randomUUID(), nowMs: Math.trunc(this.#clock.nowMs()) };
    let isFresh = this.#snapshot.version < 0 || this.#isOld();
    if (isFresh) await this.refresh({ signal });
    for (let tried = 0; tried < versionsTriedMax;) {
      const base = this.#snapshot;
      const plan = tryPlan(base, change, attempt, isFresh);
      if (plan === undefined) {
        isFresh = true;
        await this.refresh({ signal });
        continue;
      }
      const outcome = await this.#put(base, plan, signal);
      if (outcome === "won" && (await this.#isInLog(plan, signal)))
        return this.#advance(base, plan);
      tried++;
      isFresh = true;
      await this.refresh({ minVersion: base.version + 1, signal });
    }
    const message = `commit to table ${tenant}: other writers took ${versionsTriedMax} versions`;
    throw new SpoorError("Unavailable", message, { reason: "commit_contention" });
  }

  /**
   * Writes a checkpoint of the latest version if there are `commitsMin` commits since the last one,
   * and drops tombstones from before `removedBeforeMs`. Returns whether it wrote one. Several
   * processes may call it concurrently.
   */
  async checkpoint({ commitsMin, removedBeforeMs, signal }: CheckpointPolicy): Promise<boolean> {
    const [store, tenant] = [this.#store, this.tenant];
    const snapshot = await this.refresh({ signal });
    const last = await this.#lastCheckpoint(commitsMin, signal);
    if (snapshot.version < 0 || snapshot.version - last < commitsMin) return false;
    const kept = withoutOldTombstones(snapshot, removedBeforeMs);
    await writeCheckpoint(kept, { store, tenant, startThread: this.#startThread, signal });
    this.#checkpoint = snapshot.version;
    if (this.#snapshot === snapshot) this.#snapshot = kept;
    return true;
  }

  /**
   * Deletes commits that a checkpoint covers and that are older than `beforeMs` and than one hour.
   * Returns the number of deleted objects.
   */
  async cleanUp(beforeMs: number, options: CommitOptions = {}): Promise<number> {
    const youngest = this.#clock.nowMs() - commitAgeMinMs;
    const [store, tenant, startThread] = [this.#store, this.tenant, this.#startThread];
    const location = { store, tenant, startThread };
    return await cleanUpLog({ ...location, beforeMs: Math.min(beforeMs, youngest), ...options });
  }

  async #put(base: Snapshot, plan: Plan, signal?: AbortSignal): Promise<"won" | "lost"> {
    const key = commitKey(this.tenant, base.version + 1);
    const [store, clock, log] = [this.#store, this.#clock, this.#log];
    const outcome = await putCommit({ store, clock, log, key, bytes: plan.bytes, signal });
    if (outcome === "lost") log.debug({ key }, "another commit was first, trying the next version");
    return outcome;
  }

  /**
   * Returns whether the snapshot may be so old that the next version was committed, checkpointed
   * and deleted by a clean-up since.
   */
  #isOld(): boolean {
    return longestSinceMs(this.#clock, this.#latest) > commitAgeMinMs / 6;
  }

  /**
   * Returns whether the table contains our commit. A process that was suspended between plan and
   * put may have created a version that a clean-up had deleted; no reader would see that commit. So
   * if the snapshot is old, the whole log is read again.
   */
  async #isInLog({ commit }: Plan, signal: AbortSignal | undefined): Promise<boolean> {
    if (!this.#isOld()) return true;
    const [store, tenant, base] = [this.#store, this.tenant, emptySnapshot()];
    const onBadCheckpoint = (error: SpoorError): void => this.#reportCheckpoint(error);
    const keep = (): void => undefined;
    const startThread = this.#startThread;
    const location = { store, tenant, base, startThread };
    const latest = await readForward({ ...location, keep, onBadCheckpoint, signal });
    const isThere = ({ path }: { path: string }): boolean =>
      latest.files.has(path) || latest.tombstones.has(path);
    const isGone = ({ path }: { path: string }): boolean => !latest.files.has(path);
    const hasTransactions = [...commit.transactions].every(
      ([appId, version]) => (latest.transactions.get(appId) ?? -1) >= version,
    );
    const isIn = commit.add.every(isThere) && commit.remove.every(isGone) && hasTransactions;
    if (!isIn) this.#log.error({ id: commit.id }, "a commit came too late and was not taken");
    this.#keep(latest);
    return isIn;
  }

  #advance(base: Snapshot, plan: Plan): CommitResult {
    const version = base.version + 1;
    const builder = new SnapshotBuilder(base);
    builder.apply(plan.commit, commitKey(this.tenant, version));
    const snapshot = builder.finish();
    this.#keep(snapshot);
    this.#latest = readClock(this.#clock);
    return { version, snapshot };
  }

  /** Keeps the newer snapshot, because requests end in any order. */
  #keep(snapshot: Snapshot): void {
    if (snapshot.version > this.#snapshot.version) this.#snapshot = snapshot;
  }

  /**
   * Reads the log. A caller that arrives during a read waits for the next read, which all such
   * callers share: the running read may have listed the log before the caller's commit.
   */
  async #sharedRead(): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#read().finally(() => {
        this.#running = undefined;
      });
      return await this.#running;
    }
    this.#waiting ??= this.#running.catch(leaveErrorToItsCallers).then(async () => {
      this.#waiting = undefined;
      await this.#sharedRead();
    });
    return await this.#waiting;
  }

  async #read(): Promise<void> {
    const [store, tenant, base] = [this.#store, this.tenant, this.#snapshot];
    const keep = (snapshot: Snapshot): void => {
      this.#keep(snapshot);
    };
    const onBadCheckpoint = (error: SpoorError): void => this.#reportCheckpoint(error);
    const before = readClock(this.#clock);
    const startThread = this.#startThread;
    keep(await readForward({ store, tenant, base, startThread, keep, onBadCheckpoint }));
    this.#latest = before;
  }

  #reportCheckpoint(error: SpoorError): void {
    this.#log.warn({ error: error.message }, "a checkpoint cannot be read");
  }

  /** Returns the newest version of a checkpoint, known or named by the hint; -1: none. */
  async #lastCheckpoint(commitsMin: number, signal: AbortSignal | undefined): Promise<number> {
    if (this.#snapshot.version - this.#checkpoint < commitsMin) return this.#checkpoint;
    const [store, tenant] = [this.#store, this.tenant];
    const found = (await lastCheckpoint({ store, tenant, signal })) ?? -1;
    this.#checkpoint = Math.max(found, this.#checkpoint);
    return this.#checkpoint;
  }
}

/** Returns undefined if the change conflicts with a snapshot that may be out of date. */
function tryPlan(
  base: Snapshot,
  change: Change,
  attempt: Attempt,
  isFresh: boolean,
): Plan | undefined {
  try {
    return planCommit(base, change, attempt);
  } catch (error) {
    if (isFresh) throw error;
    return undefined;
  }
}

/** A failed read is reported to the callers that wait for it, not to those of the next read. */
function leaveErrorToItsCallers(): void {}
