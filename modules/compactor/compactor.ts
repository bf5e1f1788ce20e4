/**
 * Keeps the bucket clean: removes blocks past their retention from each tenant's table, and deletes
 * objects that nothing needs. Several instances may run at the same time without harm.
 */
import type { Registry } from "prom-client";
import type { Clock } from "#pkg/clock/clock.ts";
import { hasCode, type SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { checkSignal, type ObjectStore } from "#pkg/objstore/objstore.ts";
import type { Table } from "#pkg/table/table.ts";
import { isTenantName } from "#pkg/tenant/tenant.ts";
import { checkClock } from "./clock-check.ts";
import type { CompactorConfig } from "./config.ts";
import { expireBlocks } from "./expire.ts";
import { deleteGarbage } from "./garbage.ts";
import { type CompactorMetrics, compactorMetrics } from "./metrics.ts";

export interface CompactorOptions {
  config: CompactorConfig;
  log: Log;
  registry: Registry;
  clock: Clock;
  store: ObjectStore;
  tableOf: (tenant: string) => Table;
  /** Returns a tenant's own retention, milliseconds; undefined: the configured one. */
  retentionMsOf?: (tenant: string) => number | undefined;
  /** Returns a number in [0, 1), for the jitter of the pauses. */
  random?: () => number;
}

export interface CycleResult {
  tenants: number;
  failedTenants: number;
  removedBlocks: number;
  deletedObjects: number;
  conflicts: number;
}

/** The pause doubles after each failed cycle, up to this many intervals. */
const backoffMax = 8;

export class Compactor {
  readonly #options: CompactorOptions;
  readonly #metrics: CompactorMetrics;
  /** Tenant -> key where its listing continues. */
  readonly #startAfter = new Map<string, string>();
  /** Tenants whose last attempt failed and was logged; "" is the cycle itself. */
  readonly #failing = new Set<string>();
  readonly #abort = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: CompactorOptions) {
    this.#options = options;
    this.#metrics = compactorMetrics(options.registry);
  }

  /** Runs cycles until `stop`. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Ends the running cycle at its next step, and waits for it. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
  }

  /**
   * Runs one cycle over all tenants. A failure of one tenant is counted and logged, and the cycle
   * continues with the next. Throws Canceled after an abort, Unavailable "clock_skew" if the clock
   * is wrong, and the store's error if the tenants cannot be listed.
   */
  async runOnce(signal: AbortSignal = this.#abort.signal): Promise<CycleResult> {
    const { store, clock, config } = this.#options;
    await checkClock(store, clock, config.clockSkewMs, { signal });
    const tenants = (await store.listFolders("", { signal })).filter(isTenantName);
    const total: CycleResult = {
      tenants: tenants.length,
      failedTenants: 0,
      removedBlocks: 0,
      deletedObjects: 0,
      conflicts: 0,
    };
    let unknownObjects = 0;
    for (const tenant of tenants) {
      checkSignal(signal, "compact");
      try {
        unknownObjects += await this.#tenant(tenant, total, signal);
        this.#succeeded(tenant);
      } catch (error) {
        if (signal.aborted) throw error;
        total.failedTenants++;
        this.#failed(tenant, toSpoorError(error));
      }
    }
    this.#metrics.unknownObjects.set(unknownObjects);
    return total;
  }

  async #run(): Promise<void> {
    const { clock, config, random = Math.random } = this.#options;
    const { signal } = this.#abort;
    let failures = 0;
    while (!signal.aborted) {
      failures = (await this.#cycle()) ? 0 : failures + 1;
      const factor = Math.min(backoffMax, 2 ** failures) * (0.8 + 0.4 * random());
      try {
        await clock.sleep(config.intervalMs * factor, signal);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }

  /** Runs one cycle; returns whether nothing failed. */
  async #cycle(): Promise<boolean> {
    const { clock, log } = this.#options;
    const { cycles, lastSuccess } = this.#metrics;
    let isOk = false;
    try {
      const result = await this.runOnce();
      this.#succeeded("");
      isOk = result.failedTenants === 0;
      if (isOk) lastSuccess.set(clock.nowMs() / 1000);
      const { removedBlocks, deletedObjects } = result;
      if (removedBlocks + deletedObjects > 0) log.info({ ...result }, "removed old data");
    } catch (error) {
      if (this.#abort.signal.aborted) return true;
      this.#failed("", toSpoorError(error));
    }
    cycles.inc({ result: isOk ? "ok" : "failed" });
    return isOk;
  }

  /** Compacts one tenant; returns the number of objects that Spoor did not write. */
  async #tenant(tenant: string, total: CycleResult, signal: AbortSignal): Promise<number> {
    const { config, clock, store, tableOf, retentionMsOf } = this.#options;
    const metrics = this.#metrics;
    const table = tableOf(tenant);
    const nowMs = clock.nowMs();
    const retentionMs = retentionMsOf?.(tenant) ?? config.blockRetentionMs;
    const onRemoved = (blocks: number): void => {
      total.removedBlocks += blocks;
      metrics.removedBlocks.inc({ reason: "retention" }, blocks);
    };
    const onConflict = (): void => {
      total.conflicts++;
      metrics.conflicts.inc();
    };
    await expireBlocks({ table, config, retentionMs, nowMs, signal, onRemoved, onConflict });
    const startAfter = this.#startAfter.get(tenant);
    const onDeleted = (reason: string, sizeBytes: number): void => {
      total.deletedObjects++;
      metrics.deletedObjects.inc({ reason });
      metrics.deletedBytes.inc({ reason }, sizeBytes);
    };
    const garbage = await deleteGarbage({
      store,
      table,
      config,
      nowMs,
      startAfter,
      signal,
      onDeleted,
    });
    if (garbage.startAfter === undefined) this.#startAfter.delete(tenant);
    else this.#startAfter.set(tenant, garbage.startAfter);
    await this.#shortenLog(table, nowMs, signal);
    return garbage.unknownObjects;
  }

  /** Checkpoints and cleans the log, so that a fresh process opens the table with few requests. */
  async #shortenLog(table: Table, nowMs: number, signal: AbortSignal): Promise<void> {
    const { checkpointCommits: commitsMin, logAgeMs } = this.#options.config;
    const beforeMs = nowMs - logAgeMs;
    const { checkpoints, deletedCommits } = this.#metrics;
    if (await table.checkpoint({ commitsMin, removedBeforeMs: beforeMs, signal })) {
      checkpoints.inc();
      deletedCommits.inc(await table.cleanUp(beforeMs, { signal }));
    }
  }

  #succeeded(what: string): void {
    if (this.#failing.delete(what)) {
      this.#options.log.info({ tenant: what || undefined }, "compactor works again");
    }
  }

  /** Counts each failure, logs the first. */
  #failed(what: string, error: SpoorError): void {
    const { log } = this.#options;
    this.#metrics.errors.inc({ reason: error.reason });
    const fields = { tenant: what || undefined, code: error.code, error: error.message };
    if (this.#failing.has(what)) log.debug(fields, "compactor still fails");
    else if (hasCode(error, "Corrupt")) log.error(fields, "compactor fails, keeps trying");
    else log.warn(fields, "compactor fails, keeps trying");
    this.#failing.add(what);
  }
}
