/**
 * Turns closed heads of one partition into blocks and commits them: per tenant one head at a time,
 * in log order. It retries while the store fails. If a head cannot be encoded, it bisects the
 * head's log range down to the faulty records, which go to quarantine.
 */
import { type Clock, type ClockReading, longestSinceMs, readClock } from "#pkg/clock/clock.ts";
import {
  alreadyCommitted,
  cutterDied,
  encodeFailed,
  hasCode,
  ownerLost,
  SpoorError,
  toSpoorError,
} from "#pkg/errors/errors.ts";
import type { TenantLimits } from "#pkg/limits/limits.ts";
import type { Log } from "#pkg/log/log.ts";
import type { StoreConfig } from "#pkg/objstore/objstore.ts";
import type { Tracer } from "#pkg/selftrace/selftrace.ts";
import type { LogConfig } from "#pkg/spanlog/spanlog.ts";
import type { Change, ColumnDef, Table } from "#pkg/table/table.ts";
import type { Cutter } from "./cutter.ts";
import type { ClosedHead, CutTask, LogRange, StoredCut } from "./messages.ts";
import { endAppId } from "./log-losses.ts";
import type { IngesterMetrics } from "./metrics.ts";
import type { Quarantine } from "./quarantine.ts";
import { readRecord } from "./rebuild.ts";

export interface CommitterOptions {
  partition: { index: number; count: number };
  appId: string;
  store: StoreConfig;
  logConfig: LogConfig;
  rowGroupSpans: number;
  limits: TenantLimits;
  tracer: Tracer;
  quarantine: Quarantine;
  cutter: Cutter;
  tableOf: (tenant: string) => Table;
  clock: Clock;
  log: Log;
  metrics: IngesterMetrics;
  /** Returns a number in [0, 1), for the pauses between retries. */
  random?: () => number;
  /** Tenant -> offset that its table has reached. Every commit starts from it and advances it. */
  committed: Map<string, number>;
  onCommitted: (head: ClosedHead) => void;
  /** Returns the durable end of the log. */
  durableEnd: () => number;
  /** Throws Unavailable `log_owner_lost` if another process may have taken over the log. */
  assertOwner: () => void;
  /** Called when another writer owns the partition: this process must end. */
  onFatal: (error: SpoorError) => void;
}

const backoffMinMs = 200;
const backoffMaxMs = 30_000;
/** Cutter threads that may die over one range before its content is considered the cause. */
const deathsMax = 3;

/**
 * Blocks that waited longer than this for their commit are written again, milliseconds. The
 * compactor deletes blocks that no commit names, after an hour at the earliest
 * (`compactor.orphan_age`).
 */
const cutsAgeMaxMs = 30 * 60_000;

/** Conflicts that disappear if the block is encoded again for the current table. */
const staleSchemaReasons: ReadonlySet<string> = new Set(["schema_conflict", "too_many_columns"]);

/** The progress of a head; kept between retries. */
interface Attempt {
  /** Ranges without a block, the next one last. Only a range that was not halved has a head. */
  todo: { range: LogRange; head: CutTask["head"] }[];
  /** Threads that died over the next range. */
  deaths: number;
  /** Blocks that are in the store. */
  cuts: StoredCut[];
  /** When encoding of the first block began. */
  cutsBegan: ClockReading | undefined;
  change: Change | undefined;
  /** Offsets that are in quarantine. */
  aside: Set<number>;
}

/** Commits the closed heads of one partition. */
export class Committer {
  readonly #options: CommitterOptions;
  readonly #tails = new Map<string, Promise<void>>();
  /** Number of heads that are waiting or being stored, by tenant. */
  readonly #waiting = new Map<string, number>();
  /** Offsets whose records did not decode, by tenant. */
  readonly #undecodable = new Map<string, Set<number>>();
  /** Tenants whose last attempt failed -> the number of commits when the failures began. */
  readonly #failing = new Map<string, number>();
  #commits = 0;
  readonly #abort = new AbortController();
  #gaveUp = 0;

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /**
   * Returns whether `headsMax` heads of the tenant wait because the store fails for this tenant but
   * not for others. More spans of it would only take memory from tenants that can be stored.
   */
  isHeldUp(tenant: string, headsMax: number): boolean {
    const commitsBefore = this.#failing.get(tenant);
    if (commitsBefore === undefined || commitsBefore === this.#commits) return false;
    return (this.#waiting.get(tenant) ?? 0) >= headsMax;
  }

  /** Queues a head after the other heads of its tenant. */
  enqueue(head: ClosedHead): void {
    const { tenant } = head;
    this.#waiting.set(tenant, (this.#waiting.get(tenant) ?? 0) + 1);
    const tail = this.#tails.get(tenant) ?? Promise.resolve();
    const next = tail
      .then(() => this.#persist(head))
      .catch((error: unknown) => this.#fail(toSpoorError(error)))
      .finally(() => {
        const left = this.#waiting.get(tenant)! - 1;
        this.#waiting.set(tenant, left);
        if (left > 0) return;
        this.#waiting.delete(tenant);
        this.#tails.delete(tenant);
      });
    this.#tails.set(tenant, next);
  }

  /** Records that the record at this offset did not decode. Call it before its head is queued. */
  noteUndecodable(tenant: string, offset: number): void {
    const offsets = this.#undecodable.get(tenant) ?? new Set();
    offsets.add(offset);
    this.#undecodable.set(tenant, offsets);
  }

  /** Resolves when no head is waiting. Throws Unavailable if heads were given up. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
    if (this.#gaveUp === 0) return;
    const { index } = this.#options.partition;
    const message = `partition ${index}: ${this.#gaveUp} heads are in the log but not stored`;
    throw new SpoorError("Unavailable", message, { reason: "heads_given_up" });
  }

  /** Gives up waiting heads, which stay in the log. Resolves when nothing is in flight. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#tails.values());
  }

  #fail(error: SpoorError): void {
    this.#gaveUp++;
    this.#abort.abort();
    this.#options.onFatal(error);
  }

  async #persist(head: ClosedHead): Promise<void> {
    const { signal } = this.#abort;
    const { tenant, fromOffset, toOffset } = head;
    const range = { tenant, fromOffset, toOffset };
    let attempt = firstAttempt(range, head);
    for (let waitMs = backoffMinMs; !signal.aborted; waitMs = Math.min(waitMs * 2, backoffMaxMs)) {
      try {
        if (await this.#areCutsTooOld(range, attempt)) attempt = firstAttempt(range, head);
        await this.#traced(range, attempt);
        this.#failing.delete(tenant);
        this.#commits++;
        this.#options.committed.set(tenant, toOffset);
        await this.#afterCommit(range, attempt);
        this.#options.onCommitted(head);
        return;
      } catch (cause) {
        if (signal.aborted) break;
        const error = toSpoorError(cause);
        if (error.reason === ownerLost) return this.#fail(error);
        if (error.code === "Conflict") {
          // Later heads must not be committed: they would hide that this one is missing.
          if (!staleSchemaReasons.has(error.reason)) return this.#fail(error);
          attempt = firstAttempt(range, head);
        }
        this.#noteFailure(range, error);
        const { random = Math.random } = this.#options;
        await this.#pause(waitMs * (0.5 + random()));
      }
    }
    this.#gaveUp++;
  }

  async #afterCommit(range: LogRange, { aside }: Attempt): Promise<void> {
    const { quarantine, appId } = this.#options;
    const undecodable = this.#undecodable.get(range.tenant);
    for (const offset of aside) undecodable?.delete(offset);
    if (undecodable?.size === 0) this.#undecodable.delete(range.tenant);
    await quarantine.afterCommit(range, appId, aside);
  }

  #noteFailure(range: LogRange, error: SpoorError): void {
    const { log, metrics } = this.#options;
    metrics.storeFailures.inc({ reason: error.reason });
    if (this.#failing.has(range.tenant)) return;
    this.#failing.set(range.tenant, this.#commits);
    const fields = { ...range, error: error.message, reason: error.reason };
    log.error(fields, "a head could not be stored, retrying");
  }

  /** Sleeps; returns early, without an error, when the committer stops. */
  async #pause(ms: number): Promise<void> {
    const { signal } = this.#abort;
    try {
      await this.#options.clock.sleep(ms, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** Returns whether the blocks must be written again: they are old and no commit names them. */
  async #areCutsTooOld({ tenant }: LogRange, { cuts, cutsBegan }: Attempt): Promise<boolean> {
    const { clock, committed, appId, tableOf } = this.#options;
    if (cuts.length === 0 || cutsBegan === undefined) return false;
    if (longestSinceMs(clock, cutsBegan) < cutsAgeMaxMs) return false;
    const { transactions } = await tableOf(tenant).refresh();
    return transactions.get(appId) === committed.get(tenant);
  }

  async #traced(range: LogRange, attempt: Attempt): Promise<void> {
    const { tracer, partition } = this.#options;
    const { tenant, fromOffset, toOffset } = range;
    const facts = { tenant, partition: partition.index, fromOffset, toOffset };
    await tracer.run("store head", facts, () => this.#attempt(range, attempt));
  }

  /** Makes one attempt; skips the steps that an earlier attempt has completed. */
  async #attempt(range: LogRange, attempt: Attempt): Promise<void> {
    const { tableOf, metrics } = this.#options;
    const table = tableOf(range.tenant);
    if (attempt.change === undefined) {
      await this.#quarantineUndecodable(range, attempt);
      if (table.snapshot.version < 0) await table.refresh();
      while (attempt.todo.length > 0) await this.#cutNext(attempt, table);
      attempt.change = this.#planChange(range, attempt.cuts);
    }
    const stopTimer = metrics.commitSeconds.startTimer();
    const { change } = attempt;
    this.#options.assertOwner();
    await this.#options.tracer.run("commit", { blocks: attempt.cuts.length }, () =>
      commitOnce(table, change, this.#abort.signal),
    );
    stopTimer();
    for (const { file, duplicateSpans } of attempt.cuts) {
      metrics.blocks.inc();
      metrics.blockBytes.inc(file.sizeBytes);
      metrics.blockSpans.inc(file.stats.rows);
      metrics.duplicateSpans.inc(duplicateSpans);
    }
  }

  /** Plans the commit from the offset that this writer knows, not from the table's current one. */
  #planChange({ tenant, fromOffset, toOffset }: LogRange, cuts: readonly StoredCut[]): Change {
    const { appId, committed } = this.#options;
    const expectedVersion = committed.get(tenant);
    if (fromOffset < (expectedVersion ?? 0)) {
      const message = `head of tenant ${tenant} begins at ${fromOffset}, below ${expectedVersion}`;
      throw new SpoorError("Conflict", message, { reason: "head_overlap" });
    }
    return {
      add: cuts.map(({ file }) => file),
      columns: columnsOf(cuts),
      transaction: { appId, expectedVersion, version: toOffset },
      marks: new Map([[endAppId(appId), this.#options.durableEnd()]]),
      operation: "WRITE",
      dataChange: true,
    };
  }

  /** Cuts the next range. If it cannot be encoded, halves it; quarantines a single record. */
  async #cutNext(attempt: Attempt, table: Table): Promise<void> {
    const { range, head } = attempt.todo.at(-1)!;
    if (attempt.cuts.length === 0) attempt.cutsBegan = readClock(this.#options.clock);
    try {
      const cut = await this.#cut(range, head, { table, cuts: attempt.cuts });
      if (cut !== undefined) attempt.cuts.push(cut);
      attempt.todo.pop();
    } catch (cause) {
      const error = toSpoorError(cause);
      if (error.reason === cutterDied) attempt.deaths++;
      const isContent = error.reason === encodeFailed || attempt.deaths >= deathsMax;
      if (!isContent) throw error;
      const { tenant, fromOffset, toOffset } = range;
      if (toOffset - fromOffset === 1) {
        await this.#setAside(attempt, { tenant, offset: fromOffset }, error.message);
        attempt.todo.pop();
      } else {
        const fields = { ...range, error: error.message };
        const text = "a range of the log could not be encoded, bisecting it";
        this.#options.log.error(fields, text);
        attempt.todo.pop();
        for (const half of halves(range)) attempt.todo.push(half);
      }
    }
    attempt.deaths = 0;
  }

  async #cut(
    range: LogRange,
    head: CutTask["head"],
    { table, cuts }: { table: Table; cuts: readonly StoredCut[] },
  ): Promise<StoredCut | undefined> {
    const { store, logConfig, partition, rowGroupSpans, cutter, clock, metrics } = this.#options;
    const tableColumns = [
      ...table.snapshot.columns.keys(),
      ...columnsOf(cuts).map(({ name }) => name),
    ];
    const nowMs = clock.nowMs();
    const limits = this.#options.limits.of(range.tenant);
    const places = { store, logConfig, partition, limits };
    const task = { ...places, range, head, rowGroupSpans, tableColumns, nowMs };
    const { stored } = await this.#options.tracer.run("cut", {}, () => cutter.cut(task));
    if (stored === undefined) return undefined;
    metrics.cutSeconds.observe(stored.encodeMs / 1000);
    metrics.storeSeconds.observe(stored.storeMs / 1000);
    return stored;
  }

  async #quarantineUndecodable(range: LogRange, attempt: Attempt): Promise<void> {
    const { tenant, fromOffset, toOffset } = range;
    for (const offset of this.#undecodable.get(tenant) ?? []) {
      if (offset < fromOffset || offset >= toOffset) continue;
      await this.#setAside(attempt, { tenant, offset }, "the record does not decode");
    }
  }

  async #setAside(
    { aside }: Attempt,
    { tenant, offset }: { tenant: string; offset: number },
    reason: string,
  ): Promise<void> {
    if (aside.has(offset)) return;
    const { appId, logConfig, partition, quarantine, log, metrics } = this.#options;
    let bytes: Uint8Array;
    try {
      bytes = await readRecord(logConfig, partition.index, { tenant, offset });
    } catch (error) {
      if (!hasCode(error, "NotFound")) throw error;
      // It was read before, so the disk has lost it since.
      log.error({ tenant, offset, reason }, "a faulty record is no longer in the log");
      aside.add(offset);
      return;
    }
    const path = await quarantine.put({ tenant, appId, offset, bytes });
    aside.add(offset);
    metrics.quarantinedRecords.inc();
    log.error({ tenant, offset, path, reason }, "a record was put into quarantine");
  }
}

function firstAttempt(range: LogRange, head: ClosedHead): Attempt {
  const todo = [{ range, head }];
  return { todo, deaths: 0, cuts: [], cutsBegan: undefined, change: undefined, aside: new Set() };
}

/** Returns the two halves of a range, the later one first. */
function halves({ tenant, fromOffset, toOffset }: LogRange): Attempt["todo"] {
  const middle = fromOffset + Math.floor((toOffset - fromOffset) / 2);
  return [
    { range: { tenant, fromOffset: middle, toOffset }, head: undefined },
    { range: { tenant, fromOffset, toOffset: middle }, head: undefined },
  ];
}

function columnsOf(cuts: readonly StoredCut[]): ColumnDef[] {
  const byName = new Map(cuts.flatMap(({ columns }) => columns).map((c) => [c.name, c]));
  return [...byName.values()];
}

/** Commits a change. If the table has it already, an earlier attempt of ours succeeded. */
async function commitOnce(table: Table, change: Change, signal: AbortSignal): Promise<void> {
  try {
    await table.commit(change, { signal });
  } catch (error) {
    if (!hasCode(error, "Conflict") || error.reason !== alreadyCommitted) throw error;
  }
}
