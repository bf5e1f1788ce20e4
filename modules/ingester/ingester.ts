/**
 * The ingester reads the span log into heads, answers live queries from heads, turns heads into
 * blocks and commits them to the tenants' tables. One worker thread per partition; see README.md.
 */
import { join } from "node:path";
import type { Registry } from "prom-client";
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import type { ObjectStore, StoreConfig } from "#pkg/objstore/objstore.ts";
import type {
  AnswerOf,
  LiveSpans,
  Outcomes,
  PinnedHeads,
  QuestionName,
  ShardAsk,
} from "#pkg/questions/questions.ts";
import type { Refusals, TenantLimits } from "#pkg/limits/limits.ts";
import type { Tracer } from "#pkg/selftrace/selftrace.ts";
import type { LogConfig, SpanLog } from "#pkg/spanlog/spanlog.ts";
import type { Snapshot, Table } from "#pkg/table/table.ts";
import { isTenantName } from "#pkg/tenant/tenant.ts";
import type { IngesterConfig } from "./config.ts";
import type { StartThread } from "#pkg/threads/threads.ts";
import { askHeads } from "./ask-heads.ts";
import { Cutter } from "./cutter.ts";
import { LivePool } from "./live-pool.ts";
import { findMissingLogs, knownEnd } from "./log-losses.ts";
import type { PartitionState } from "./messages.ts";
import { type IngesterMetrics, ingesterMetrics } from "./metrics.ts";
import { FailingTenants } from "./failing-tenants.ts";
import { PartitionHost } from "./partition-host.ts";
import { finishPutBacks } from "./put-back.ts";
import { Quarantine } from "./quarantine.ts";

export interface IngesterOptions {
  config: IngesterConfig;
  spanLog: SpanLog;
  /** The configuration with which worker threads open the same log. */
  logConfig: LogConfig;
  quarantineDir: string;
  store: ObjectStore;
  /** The configuration with which worker threads open the same store. */
  storeConfig: StoreConfig;
  tableOf: (tenant: string) => Table;
  limits: TenantLimits;
  tracer: Tracer;
  refusals: Refusals;
  clock: Clock;
  log: Log;
  registry: Registry;
  /** Encodes and stores blocks; by default a cutter with `cutThreads` threads. */
  cutter?: Cutter;
  /** Starts partition threads and, without `cutter`, cutter threads. */
  startThread?: StartThread;
  /** Returns a number in [0, 1), for the pauses between retries. */
  random?: () => number;
  /** Called when another process writes for this log: this process must end. */
  onFatal: (error: SpoorError) => void;
}

/** Most losses kept for the status page; further ones are only counted and logged. */
const lossesMax = 100;

export class Ingester implements LiveSpans {
  readonly #options: IngesterOptions;
  readonly #metrics: IngesterMetrics;
  readonly #cutter: Cutter;
  /** Records that could not become a block. */
  readonly quarantine: Quarantine;
  readonly #searches: LivePool;
  readonly #hosts: PartitionHost[] = [];
  readonly #failing: FailingTenants;
  readonly #losses: string[] = [];
  #refreshing: Promise<void> | undefined;

  constructor(options: IngesterOptions) {
    this.#options = options;
    this.#metrics = ingesterMetrics(options.registry, () => this.#refreshGauges());
    options.limits.onChange(() => this.#hosts.forEach((host) => host.sendLimits()));
    this.quarantine = new Quarantine({
      dir: options.quarantineDir,
      bytesMax: options.config.quarantineBytesMax,
      log: options.log,
    });
    this.#failing = new FailingTenants({
      ...options,
      onReadable: (tenant, table) => this.#unblock(tenant, table),
    });
    this.#cutter = options.cutter ?? makeCutter(options.config, options.startThread);
    this.#searches = makeSearches(options, this.#metrics);
  }

  /** Reads the offset of each tenant's table and starts the workers. `caughtUp` resolves later. */
  async start(): Promise<void> {
    const { spanLog, config } = this.#options;
    const tables = await this.#openTables();
    const snapshots = [...tables.values()].map(({ snapshot }) => snapshot);
    // The records of an unreadable table would look like missing ones.
    if (this.failing.size === 0) this.#reportMissingLogs(snapshots);
    for (let index = 0; index < spanLog.partitionCount; index++) {
      const acknowledgedEnd = knownEnd(snapshots, this.#appId(index));
      await this.#checkLogEnd(index, this.#committedOf(index, tables), acknowledgedEnd);
    }
    const isServed = ({ tenant }: { tenant: string }): boolean => !this.failing.has(tenant);
    await finishPutBacks(this.#options.quarantineDir, spanLog, this.#options.log, isServed);
    await this.quarantine.open();
    for (let index = 0; index < spanLog.partitionCount; index++) {
      const appId = this.#appId(index);
      const committed = this.#committedOf(index, tables);
      this.#hosts.push(
        new PartitionHost({
          ...this.#options,
          partition: { index, count: spanLog.partitionCount },
          appId,
          store: this.#options.storeConfig,
          rowGroupSpans: config.rowGroupSpans,
          headBytesMax: config.headBytesMax / spanLog.partitionCount,
          cutter: this.#cutter,
          quarantine: this.quarantine,
          searches: this.#searches,
          metrics: this.#metrics,
          committed,
          lostCommits: this.#findLostCommits(index, committed),
          blocked: new Set(this.failing.keys()),
        }),
      );
    }
    this.#failing.start();
  }

  /** Tenants that are not served because their table cannot be read -> the error. */
  get failing(): ReadonlyMap<string, string> {
    return this.#failing.all;
  }

  /** Serves a tenant again whose table has become readable. */
  async #unblock(tenant: string, { snapshot }: Table): Promise<void> {
    for (const host of this.#hosts) {
      const offset = snapshot.transactions.get(this.#appId(host.index));
      await this.#checkLogEnd(host.index, new Map([[tenant, offset ?? 0]]), 0);
      await host.unblock(tenant, offset, this.#lostCommits(host.index, tenant, offset ?? 0));
    }
  }

  #appId(index: number): string {
    const { id, partitionCount } = this.#options.spanLog;
    return `${id}/${partitionCount}/${index}`;
  }

  /** Returns tenant -> offset of the partition that its table has reached. */
  #committedOf(index: number, tables: ReadonlyMap<string, Table>): Map<string, number> {
    const appId = this.#appId(index);
    const committed = new Map<string, number>();
    for (const [tenant, table] of tables) {
      const offset = table.snapshot.transactions.get(appId);
      if (offset !== undefined) committed.set(tenant, offset);
    }
    // For unreadable tables, the offset that the log remembers is a lower bound.
    const known = this.#options.spanLog.committed(index);
    for (const tenant of this.failing.keys()) committed.set(tenant, known.get(tenant) ?? 0);
    return committed;
  }

  /** Resolves when the log has been read up to its end at the start. */
  async caughtUp(): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.caughtUp()));
  }

  /** Descriptions of acknowledged records that are in no block and not in this log. */
  get losses(): readonly string[] {
    return this.#losses;
  }

  /** Starts the threads that search heads, so that the first search does not wait for them. */
  warmUp(): void {
    this.#searches.warmUp();
  }

  get isReady(): boolean {
    return this.#hosts.length > 0 && this.#hosts.every((host) => host.isCaughtUp);
  }

  /** Returns whether more spans of the tenant would only take memory from other tenants. */
  isTenantFailing(tenant: string): boolean {
    return this.failing.has(tenant) || this.#hosts.some((host) => host.isHeldUp(tenant));
  }

  async ask<K extends QuestionName>(
    question: K,
    asks: readonly ShardAsk<K>[],
    signal: AbortSignal,
  ): Promise<Outcomes<AnswerOf<K>>> {
    return await askHeads(this.#hosts, question, asks, signal);
  }

  /** Pins the tenant's heads. A partition that fails adds to `incomplete`. Throws Canceled. */
  async pin(tenant: string, signal: AbortSignal): Promise<PinnedHeads> {
    const settled = await Promise.allSettled(this.#hosts.map((host) => host.pin(tenant, signal)));
    const pins = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const release = (): void => pins.forEach((pin) => pin.release());
    if (signal.aborted) {
      release();
      throw new SpoorError("Canceled", "pinning heads was canceled");
    }
    const failures = settled.flatMap((one, index) =>
      one.status === "rejected" ? [`partition ${index}: ${toSpoorError(one.reason).message}`] : [],
    );
    return {
      heads: pins.flatMap(({ heads }) => heads),
      tableVersion: this.#options.tableOf(tenant).snapshot.version,
      incomplete: [
        ...failures,
        ...this.#whyFailing(tenant),
        ...pins.flatMap(({ incomplete }) => incomplete),
      ],
      aside: this.quarantine.of(tenant),
      release,
    };
  }

  #whyFailing(tenant: string): string[] {
    const why = this.failing.get(tenant);
    return why === undefined ? [] : [`the newest spans wait in the log for the table: ${why}`];
  }

  /** Returns the state of the partitions with a running worker. */
  async states(): Promise<PartitionState[]> {
    const settled = await Promise.allSettled(this.#hosts.map((host) => host.state()));
    return settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  }

  /** Refreshes all gauges. Concurrent callers share one round of calls to the workers. */
  #refreshGauges(): Promise<void> {
    this.#refreshing ??= this.#setGauges().finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  async #setGauges(): Promise<void> {
    const { records, spans, bytes } = this.quarantine.totals();
    this.#metrics.quarantineRecords.set(records);
    this.#metrics.quarantineSpans.set(spans);
    this.#metrics.quarantineBytes.set(bytes);
    this.#metrics.failingTenants.set(this.failing.size);
    for (const state of await this.states()) {
      const labels = { partition: String(state.partition) };
      this.#metrics.headSpans.set(labels, state.headSpans);
      this.#metrics.headBytes.set(labels, state.headBytes);
      this.#metrics.decodedSpans.set(labels, state.decodedSpansTotal);
      this.#metrics.behindRecords.set(labels, state.durableEnd - state.nextOffset);
      this.#metrics.lostRecords.set(labels, state.lostRecords);
      this.#metrics.undecodableRecords.set(labels, state.undecodableRecordsTotal);
      this.#metrics.repairedStrings.set(labels, state.repairedStringsTotal);
      this.#metrics.pins.set(labels, state.pins);
      this.#metrics.stalled.set(labels, state.stalled ? 1 : 0);
    }
  }

  /**
   * Turns everything that is in the log now into blocks. Throws Unavailable if a worker dies or the
   * ingester stops before the end; the remaining records stay in the log.
   */
  async flush(): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.flush()));
  }

  /** Stops at once. Records that are in no block stay in the log. */
  async stop(): Promise<void> {
    await this.#failing.stop();
    const hosts = this.#hosts.map((host) => host.stop());
    await Promise.all([...hosts, this.#cutter.stop(), this.#searches.stop()]);
  }

  async #openTables(): Promise<Map<string, Table>> {
    const { store } = this.#options;
    const tables = new Map<string, Table>();
    for (const tenant of await store.listFolders("")) {
      if (!isTenantName(tenant)) continue;
      const table = await this.#failing.read(tenant);
      if (table !== undefined) tables.set(tenant, table);
    }
    return tables;
  }

  /**
   * Finds tables that lost commits. The log remembers the offsets of tables when it was trimmed; a
   * table behind its offset lost commits. Records that the log still has are stored again; the
   * others are lost. Returns tenant -> number of lost records.
   */
  #findLostCommits(index: number, committed: ReadonlyMap<string, number>): Map<string, number> {
    const lost = new Map<string, number>();
    for (const tenant of this.#options.spanLog.committed(index).keys()) {
      const lostRecords = this.#lostCommits(index, tenant, committed.get(tenant) ?? 0);
      if (lostRecords > 0) lost.set(tenant, lostRecords);
    }
    return lost;
  }

  /** Returns the number of committed records that neither the tenant's table nor the log has. */
  #lostCommits(index: number, tenant: string, tableOffset: number): number {
    const { spanLog, log } = this.#options;
    const committedOffset = spanLog.committed(index).get(tenant) ?? 0;
    const firstOffset = spanLog.firstOffset(index);
    const lostRecords = Math.min(committedOffset, firstOffset) - tableOffset;
    if (lostRecords <= 0) return 0;
    log.error(
      { tenant, partition: index, tableOffset, committedOffset, firstOffset },
      "the table lost commits: records that it had reached are no longer in the log",
    );
    return lostRecords;
  }

  /**
   * Checks whether the log lost its end: a table has reached an offset beyond the log's end, or
   * recorded that the log was durable beyond it. Then new records start after that offset.
   */
  async #checkLogEnd(
    index: number,
    committed: ReadonlyMap<string, number>,
    acknowledgedEnd: number,
  ): Promise<void> {
    const { spanLog, log } = this.#options;
    let tableOffset = 0;
    for (const offset of committed.values()) tableOffset = Math.max(tableOffset, offset);
    const logEnd = spanLog.durableEnd(index);
    const furthest = Math.max(tableOffset, acknowledgedEnd);
    if (furthest <= logEnd) return;
    log.error(
      { partition: index, tableOffset, acknowledgedEnd, logEnd },
      "the log lost its end: tables are further, new records start at their offset",
    );
    const lostRecords = acknowledgedEnd - Math.max(tableOffset, logEnd);
    if (lostRecords > 0) {
      this.#noteLoss(
        lostRecords,
        `partition ${index} of the log ends at ${logEnd} but had acknowledged ` +
          `${acknowledgedEnd}: ${lostRecords} records are in no block`,
      );
    }
    await spanLog.advance(index, furthest);
  }

  /** Reports logs that are missing, with the records that tables know them to have acknowledged. */
  #reportMissingLogs(snapshots: readonly Snapshot[]): void {
    const { spanLog, log } = this.#options;
    for (const missing of findMissingLogs(snapshots, spanLog.id)) {
      const { logId, partition, committedTo, end } = missing;
      const lostRecords = end - committedTo;
      const message =
        `partition ${partition} of log ${logId} is missing: ${lostRecords} records that it had ` +
        "acknowledged are in no block; unless another process has that log, they are lost";
      log.error({ ...missing, lostRecords }, "tables name a log that is missing");
      this.#noteLoss(lostRecords, message);
    }
  }

  #noteLoss(records: number, message: string): void {
    this.#metrics.missingLogRecords.inc(records);
    if (this.#losses.length < lossesMax) this.#losses.push(message);
  }
}

/** Creates the cutter of a config. */
export function makeCutter(config: IngesterConfig, startThread?: StartThread): Cutter {
  const { cutThreads: threadsMax, cutIdleMs: idleMs, cutWasmBytesMax: wasmBytesMax } = config;
  return new Cutter({ threadsMax, idleMs, wasmBytesMax, startThread });
}

function makeSearches(
  { config, startThread, log, clock }: IngesterOptions,
  metrics: IngesterMetrics,
): LivePool {
  const pool = new LivePool({
    tenantThreads: config.searchThreads,
    threadsMax: Math.max(config.searchThreads, config.searchThreadsMax),
    queuedMax: config.searchesQueuedMax,
    timeoutMs: config.searchTimeoutMs,
    idleMs: config.cutIdleMs,
    nowMs: () => clock.monotonicMs(),
    startThread,
    onEnded: (reason) => {
      metrics.searchThreadsEnded.inc({ reason });
      log.warn({ reason }, "a thread that searched a head was ended");
    },
  });
  metrics.searches(() => ({ running: pool.running, waiting: pool.waiting }));
  return pool;
}

/** Returns the folder for records that cannot become a block, below the data folder. */
export function quarantineFolder(dataDir: string): string {
  return join(dataDir, "quarantine");
}
export type { PartitionState } from "./messages.ts";
export { finishPutBacks, putBack } from "./put-back.ts";
export { type AsideRecord, readAside, removeDurably } from "./quarantine-files.ts";
export type { QuarantineTotals } from "./quarantine.ts";
