/** Test support: a bucket with tables and a manual clock. */
import { Registry } from "prom-client";
import { ulid } from "ulid";
import { blockPath } from "#pkg/block/block-file.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { type BlockFile, openTable, type Table } from "#pkg/table/delta-table.ts";
import { Compactor, type CompactorOptions } from "./compactor.ts";
import { type CompactorConfig, compactorConfig } from "./config.ts";

export const hour = 3_600_000;
export const day: number = 24 * hour;
export const start = 1_763_800_000_000;

export class ManualClock implements Clock {
  now: number = start;
  readonly sleeps: number[] = [];
  readonly #wake = Promise.withResolvers<void>();
  readonly #sleepsMax: number;

  /** After `sleepsMax` sleeps the next one lasts until it is aborted. */
  constructor(sleepsMax: number = Number.POSITIVE_INFINITY) {
    this.#sleepsMax = sleepsMax;
  }

  nowMs(): number {
    return this.now;
  }

  monotonicMs(): number {
    return this.now;
  }

  /** Resolves when the last sleep begins. */
  get sleptAll(): Promise<void> {
    return this.#wake.promise;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.sleeps.push(ms);
    if (this.sleeps.length < this.#sleepsMax) {
      this.now += ms;
      return;
    }
    this.#wake.resolve();
    await new Promise<never>((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason as Error));
    });
  }
}

/** Returns the path of a new block that was ingested at `timeMs`. */
export function pathAt(timeMs: number): string {
  return blockPath(ulid(timeMs), timeMs);
}

function fileOf(path: string): BlockFile {
  const stats = { rows: 1, min: {}, max: {} };
  return { path, sizeBytes: 3, modifiedMs: start, stats, tags: {} };
}

/** A bucket with tables and a manual clock. */
export class World {
  readonly clock: ManualClock;
  readonly store: MemoryStore;
  #tables = new Map<string, Table>();

  constructor(clock: ManualClock = new ManualClock()) {
    this.clock = clock;
    this.store = new MemoryStore({ clock });
  }

  tableOf(tenant: string, store: ObjectStore = this.store): Table {
    return openTable({ store, tenant, clock: this.clock, log: openLog("silent") });
  }

  async put(key: string): Promise<void> {
    await this.store.put(key, Buffer.from("abc"));
  }

  /** Puts a block and commits it. */
  async add(tenant: string, ...paths: string[]): Promise<void> {
    for (const path of paths) await this.put(`${tenant}/${path}`);
    await this.commit(tenant, paths);
  }

  async commit(tenant: string, paths: readonly string[]): Promise<void> {
    let table = this.#tables.get(tenant);
    if (table === undefined) this.#tables.set(tenant, (table = this.tableOf(tenant)));
    const add = paths.map(fileOf);
    await table.commit({ add, operation: "WRITE", dataChange: true });
  }

  async remove(tenant: string, ...remove: string[]): Promise<void> {
    const table = this.tableOf(tenant);
    await table.commit({ remove, operation: "OPTIMIZE", dataChange: false });
  }

  /** Returns the paths of the blocks in the table. */
  async named(tenant: string): Promise<string[]> {
    return [...(await this.tableOf(tenant).refresh()).files.keys()].sort();
  }

  /** Returns all keys except commits and the clock's probe. */
  async objects(): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.store.list("")) keys.push(key);
    return keys.filter((key) => !key.includes("_delta_log/") && !key.startsWith("_spoor/"));
  }

  compactor(
    config: Partial<CompactorConfig> = {},
    options: Partial<CompactorOptions> = {},
  ): Compactor {
    const { clock } = this;
    const store = options.store ?? this.store;
    const tables = new Map<string, Table>();
    return new Compactor({
      config: compactorConfig.parse(config),
      log: openLog("silent"),
      registry: new Registry(),
      clock,
      store,
      tableOf: (tenant) => {
        const table = tables.get(tenant) ?? this.tableOf(tenant, store);
        tables.set(tenant, table);
        return table;
      },
      random: () => 0.5,
      ...options,
    });
  }
}
