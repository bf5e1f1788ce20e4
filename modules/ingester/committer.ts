/**
 * Closed heads to blocks to commits, for one partition: per tenant one at a time, in log order.
 * Keeps trying while the store fails; a head that cannot be encoded is bisected by its log range
 * down to the records at fault, which go to quarantine.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { hasCode, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { HeadData } from "#pkg/columns/head.ts";
import type { Log } from "#pkg/log/log.ts";
import type { StoreConfig } from "#pkg/objstore/store-config.ts";
import type { Change, CommitResult, Table } from "#pkg/table/table.ts";
import type { Cutter } from "./cutter.ts";
import type { ClosedHead, CutResult } from "./messages.ts";
import type { IngesterMetrics } from "./metrics.ts";
import { quarantine } from "./quarantine.ts";

export interface CommitterOptions {
  partition: { index: number; count: number };
  appId: string;
  store: StoreConfig;
  rowGroupSpans: number;
  quarantineDir: string;
  cutter: Cutter;
  tableOf: (tenant: string) => Table;
  clock: Clock;
  log: Log;
  metrics: IngesterMetrics;
  /** Decodes the tenant's records of a range of the log anew. */
  rebuild: (range: LogRange) => Promise<RebuiltHead>;
  onCommitted: (head: ClosedHead) => Promise<void>;
  /** Another writer owns the partition: this one must stop. */
  onFatal: (error: SpoorError) => void;
}

export interface LogRange {
  tenant: string;
  fromOffset: number;
  toOffset: number;
}

export interface RebuiltHead {
  data: HeadData;
  records: { offset: number; bytes: Uint8Array }[];
}

const backoffMinMs = 200;
const backoffMaxMs = 30_000;

/** Conflicts that a block encoded anew, against the table as it is now, does not have. */
const staleSchemaReasons = new Set(["schema_conflict", "too_many_columns"]);

export class Committer {
  readonly #options: CommitterOptions;
  readonly #tails = new Map<string, Promise<void>>();
  /** Offsets whose records did not decode, by tenant. */
  readonly #undecodable = new Map<string, Set<number>>();
  readonly #failing = new Set<string>();
  readonly #abort = new AbortController();

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /** Tenants whose last attempt failed and that are tried again. */
  get failingTenants(): ReadonlySet<string> {
    return this.#failing;
  }

  /** Puts a head behind the other heads of its tenant. */
  enqueue(head: ClosedHead): void {
    const tail = this.#tails.get(head.tenant) ?? Promise.resolve();
    const next = tail.then(() => this.#persist(head));
    this.#tails.set(head.tenant, next);
    void next.then(() => {
      if (this.#tails.get(head.tenant) === next) this.#tails.delete(head.tenant);
    });
  }

  noteUndecodable(tenant: string, offset: number): void {
    const offsets = this.#undecodable.get(tenant) ?? new Set();
    offsets.add(offset);
    this.#undecodable.set(tenant, offsets);
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }

  /** Gives up what waits; it stays in the log. */
  stop(): void {
    this.#abort.abort();
  }

  async #persist(head: ClosedHead): Promise<void> {
    const { log, metrics, clock, onCommitted, onFatal } = this.#options;
    let waitMs = backoffMinMs;
    const attempt = {
      cuts: undefined as CutResult[] | undefined,
      change: undefined as Change | undefined,
    };
    while (!this.#abort.signal.aborted) {
      try {
        await this.#attempt(head, attempt);
        this.#failing.delete(head.tenant);
        await onCommitted(head);
        return;
      } catch (cause) {
        const error = toSpoorError(cause);
        if (this.#abort.signal.aborted) return;
        if (error.code === "Conflict" && staleSchemaReasons.has(error.reason)) {
          attempt.cuts = undefined;
          attempt.change = undefined;
        } else if (error.code === "Conflict") {
          onFatal(error);
          return;
        }
        metrics.commitFailures.inc({ reason: error.reason });
        if (!this.#failing.has(head.tenant)) {
          log.error(
            { tenant: head.tenant, partition: this.#options.partition.index, error: error.message },
            "a head could not be stored, trying again",
          );
        }
        this.#failing.add(head.tenant);
        try {
          await clock.sleep(waitMs * (0.5 + Math.random()), this.#abort.signal);
        } catch (aborted) {
          if (hasCode(toSpoorError(aborted), "Canceled")) return;
          throw aborted;
        }
        waitMs = Math.min(waitMs * 2, backoffMaxMs);
      }
    }
  }

  /** One try: what an earlier try has done already (blocks stored, change planned) is kept. */
  async #attempt(
    head: ClosedHead,
    attempt: { cuts: CutResult[] | undefined; change: Change | undefined },
  ): Promise<void> {
    const { tableOf, appId, metrics } = this.#options;
    const table = tableOf(head.tenant);
    if (attempt.change === undefined) {
      await this.#quarantineUndecodable(head);
      if (table.snapshot.version < 0) await table.refresh();
      attempt.cuts ??= head.spans === 0 ? [] : await this.#cutRange(head, head.data, table);
      const { cuts } = attempt;
      attempt.change = {
        add: cuts.map(({ file }) => file),
        columns: [
          ...new Map(cuts.flatMap(({ columns }) => columns).map((c) => [c.name, c])).values(),
        ],
        transaction: {
          appId,
          expectedVersion: table.snapshot.transactions.get(appId),
          version: head.toOffset,
        },
        operation: "WRITE",
        dataChange: true,
      };
    }
    const stopTimer = metrics.commitSeconds.startTimer();
    await commitOnce(table, attempt.change);
    stopTimer();
    for (const { file, duplicateSpans } of attempt.cuts!) {
      metrics.blocks.inc();
      metrics.blockBytes.inc(file.sizeBytes);
      metrics.blockSpans.inc(file.stats.rows);
      metrics.duplicateSpans.inc(duplicateSpans);
    }
  }

  /** Encodes a range; if that fails for its content, its halves; a single record goes aside. */
  async #cutRange(
    range: LogRange & ClosedTimes,
    data: HeadData,
    table: Table,
  ): Promise<CutResult[]> {
    try {
      return [await this.#cut(range, data, table)];
    } catch (cause) {
      const error = toSpoorError(cause);
      if (error.code !== "Internal" && error.code !== "Corrupt" && error.code !== "InvalidInput") {
        throw error;
      }
      this.#options.log.error(
        { ...logRange(range), error: error.message },
        "a range of the log could not be encoded, bisecting it",
      );
      return await this.#bisect(range, error, table);
    }
  }

  async #bisect(
    range: LogRange & ClosedTimes,
    error: SpoorError,
    table: Table,
  ): Promise<CutResult[]> {
    const { rebuild } = this.#options;
    const { records } = await rebuild(logRange(range));
    if (records.length <= 1) {
      for (const { offset, bytes } of records) {
        await this.#setAside(range.tenant, offset, bytes, error.message);
      }
      return [];
    }
    const middle = records[records.length >> 1].offset;
    const out: CutResult[] = [];
    for (const half of [
      { ...range, toOffset: middle },
      { ...range, fromOffset: middle },
    ]) {
      const { data } = await rebuild(logRange(half));
      if (data.rows > 0) out.push(...(await this.#cutRange(half, data, table)));
    }
    return out;
  }

  async #cut(range: LogRange & ClosedTimes, data: HeadData, table: Table): Promise<CutResult> {
    const { store, partition, rowGroupSpans, cutter, clock, metrics } = this.#options;
    const result = await cutter.cut({
      store,
      tenant: range.tenant,
      data,
      firstAppendedMs: range.firstAppendedMs,
      lastAppendedMs: range.lastAppendedMs,
      partition,
      rowGroupSpans,
      tableColumns: [...table.snapshot.columns.keys()],
      nowMs: clock.nowMs(),
    });
    metrics.cutSeconds.observe(result.encodeMs / 1000);
    metrics.storeSeconds.observe(result.storeMs / 1000);
    return result;
  }

  async #quarantineUndecodable({ tenant, fromOffset, toOffset }: LogRange): Promise<void> {
    const offsets = this.#undecodable.get(tenant);
    if (offsets === undefined) return;
    for (const offset of offsets) {
      if (offset < fromOffset || offset >= toOffset) continue;
      const one = { tenant, fromOffset: offset, toOffset: offset + 1 };
      const { records } = await this.#options.rebuild(one);
      for (const { bytes } of records) {
        await this.#setAside(tenant, offset, bytes, "the record does not decode");
      }
      offsets.delete(offset);
    }
    if (offsets.size === 0) this.#undecodable.delete(tenant);
  }

  async #setAside(
    tenant: string,
    offset: number,
    bytes: Uint8Array,
    reason: string,
  ): Promise<void> {
    const { appId, quarantineDir, log, metrics } = this.#options;
    const path = await quarantine(quarantineDir, { tenant, appId, offset, bytes });
    metrics.quarantinedRecords.inc();
    log.error({ tenant, offset, path, reason }, "a record was put into quarantine");
  }
}

interface ClosedTimes {
  firstAppendedMs: number;
  lastAppendedMs: number;
}

function logRange({ tenant, fromOffset, toOffset }: LogRange): LogRange {
  return { tenant, fromOffset, toOffset };
}

/** Commits; a change that is found to be in the table already was ours, from an earlier try. */
async function commitOnce(table: Table, change: Change): Promise<CommitResult | undefined> {
  try {
    return await table.commit(change);
  } catch (error) {
    if (hasCode(error, "Conflict") && error.reason === "already_committed") {
      await table.refresh();
      return undefined;
    }
    throw error;
  }
}
