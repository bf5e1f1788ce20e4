/**
 * The ingester: reads the span log into heads, answers live queries from them, cuts heads into
 * blocks and commits them to the tenants' tables. One worker thread per partition; see README.md.
 */
import { join } from "node:path";
import type { Registry } from "prom-client";
import type { LiveSpans, PinnedHeads } from "#pkg/api/query.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import type { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import type { StoreConfig } from "#pkg/objstore/store-config.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import type { Table } from "#pkg/table/table.ts";
import type { IngesterConfig } from "./config.ts";
import { Cutter } from "./cutter.ts";
import type { PartitionState } from "./messages.ts";
import { type IngesterMetrics, ingesterMetrics } from "./metrics.ts";
import { PartitionHost } from "./partition-host.ts";

export interface IngesterOptions {
  config: IngesterConfig;
  spanLog: SpanLog;
  /** Folder of the log's files: the workers read them. */
  logDir: string;
  quarantineDir: string;
  store: ObjectStore;
  /** How worker threads open the same store. */
  storeConfig: StoreConfig;
  tableOf: (tenant: string) => Table;
  clock: Clock;
  log: Log;
  registry: Registry;
  /** Another process writes for this log: this one must end. */
  onFatal: (error: SpoorError) => void;
}

export class Ingester implements LiveSpans {
  readonly #options: IngesterOptions;
  readonly #metrics: IngesterMetrics;
  readonly #cutter: Cutter;
  readonly #hosts: PartitionHost[] = [];

  constructor(options: IngesterOptions) {
    this.#options = options;
    this.#metrics = ingesterMetrics(options.registry, () => this.#refreshGauges());
    this.#cutter = new Cutter({
      threadsMax: options.config.cutThreads,
      idleMs: options.config.cutIdleMs,
      wasmBytesMax: options.config.cutWasmBytesMax,
    });
  }

  /** Reads where each tenant's table stands and starts the workers; `caughtUp` follows. */
  async start(): Promise<void> {
    const { spanLog, config } = this.#options;
    const tables = await this.#openTables();
    for (let index = 0; index < spanLog.partitionCount; index++) {
      const appId = this.#appId(index);
      const committed = new Map<string, number>();
      for (const [tenant, table] of tables) {
        const offset = table.snapshot.transactions.get(appId);
        if (offset !== undefined) committed.set(tenant, offset);
      }
      await this.#checkAgainstLog(index, committed);
      this.#hosts.push(
        new PartitionHost(
          {
            ...this.#options,
            partition: { index, count: spanLog.partitionCount },
            appId,
            store: this.#options.storeConfig,
            rowGroupSpans: config.rowGroupSpans,
            headBytesMax: config.headBytesMax / spanLog.partitionCount,
            cutter: this.#cutter,
            metrics: this.#metrics,
          },
          committed,
        ),
      );
    }
  }

  /** Resolves when the log as it was at the start has been read again. */
  async caughtUp(): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.caughtUp()));
  }

  get isReady(): boolean {
    return this.#hosts.length > 0 && this.#hosts.every((host) => host.isCaughtUp);
  }

  /**
   * Tenants whose heads cannot be stored now: taking more of their spans would only fill memory.
   */
  isTenantFailing(tenant: string): boolean {
    return this.#hosts.some((host) => host.failingTenants.has(tenant));
  }

  async pin(tenant: string, signal: AbortSignal): Promise<PinnedHeads> {
    const settled = await Promise.allSettled(this.#hosts.map((host) => host.pin(tenant, signal)));
    const pins = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const failures = settled.flatMap((one, index) =>
      one.status === "rejected" ? [`partition ${index}: ${String(one.reason)}`] : [],
    );
    return {
      heads: pins.flatMap(({ heads }) => heads),
      tableVersion: this.#options.tableOf(tenant).snapshot.version,
      incomplete: [...failures, ...pins.flatMap(({ incomplete }) => incomplete)],
      release: () => pins.forEach(({ release }) => release()),
    };
  }

  /** State of all partitions. Throws Unavailable while a worker is being restarted. */
  states(): Promise<PartitionState[]> {
    return Promise.all(this.#hosts.map((host) => host.state()));
  }

  /** A partition whose worker is being restarted keeps its last numbers. */
  async #refreshGauges(): Promise<void> {
    const settled = await Promise.allSettled(this.#hosts.map((host) => host.state()));
    settled.forEach((one, index) => {
      if (one.status === "rejected") return;
      const state = one.value;
      const labels = { partition: String(index) };
      const { headSpans, headBytes, decodedSpans, behindRecords, lostRecords } = this.#metrics;
      headSpans.set(labels, state.headSpans);
      headBytes.set(labels, state.headBytes);
      decodedSpans.set(labels, state.decodedSpansTotal);
      behindRecords.set(labels, state.durableEnd - state.nextOffset);
      lostRecords.set(labels, state.lostRecords);
      this.#metrics.undecodableRecords.set(labels, state.undecodableRecordsTotal);
      this.#metrics.repairedStrings.set(labels, state.repairedStringsTotal);
    });
  }

  /** Makes blocks of everything in the log now; rejects only if a worker dies. */
  async flush(): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.flush()));
  }

  /** Stops at once: what is in no block yet stays in the log. */
  async stop(): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.stop()));
    await this.#cutter.stop();
  }

  #appId(index: number): string {
    const { spanLog } = this.#options;
    return `${spanLog.id}/${spanLog.partitionCount}/${index}`;
  }

  async #openTables(): Promise<Map<string, Table>> {
    const { store, tableOf } = this.#options;
    const tables = new Map<string, Table>();
    for (const tenant of await store.listFolders("")) {
      if (tenant.startsWith("_") || tenant.startsWith(".")) continue;
      const table = tableOf(tenant);
      await table.refresh();
      tables.set(tenant, table);
    }
    return tables;
  }

  /**
   * The log remembers what tables had committed when it was trimmed. A table that has less lost
   * commits; a table that has more than the log holds means that the log lost its end.
   */
  async #checkAgainstLog(index: number, committed: ReadonlyMap<string, number>): Promise<void> {
    const { spanLog, log } = this.#options;
    for (const [tenant, offset] of spanLog.committed(index)) {
      const reached = committed.get(tenant) ?? 0;
      if (reached < offset) {
        log.error(
          { tenant, partition: index, tableOffset: reached, trimmedOffset: offset },
          "the table lost commits: records that it had reached are no longer in the log",
        );
        this.#metrics.lostRecords.set({ partition: String(index) }, offset - reached);
      }
    }
    const furthest = Math.max(0, ...committed.values());
    if (furthest > spanLog.durableEnd(index)) {
      log.error(
        { partition: index, tableOffset: furthest, logEnd: spanLog.durableEnd(index) },
        "the log lost its end: tables have reached further, new records start there",
      );
      await spanLog.advance(index, furthest);
    }
  }
}

/** Where records that cannot become a block go, below the data folder. */
export function quarantineFolder(dataDir: string): string {
  return join(dataDir, "quarantine");
}
