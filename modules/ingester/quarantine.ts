/**
 * The quarantine: records that could not become a block, set aside before the log's offset passes
 * them. What is in it is in no block: queries of its tenant, range and traces say so.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { AsideSpans } from "#pkg/questions/shards.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import type { LogRange } from "./messages.ts";
import { recordFacts } from "./quarantine-facts.ts";
import {
  asideName,
  type AsideRecord,
  quarantineError,
  readAside,
  removeDurably,
  writeDurably,
} from "./quarantine-files.ts";

export interface QuarantinedRecord {
  tenant: string;
  /** appId of the log's partition, e.g. `<log id>/4/0`. */
  appId: string;
  offset: number;
  bytes: Uint8Array;
}

export interface QuarantineTotals {
  records: number;
  /** Without those of records that do not parse. */
  spans: number;
  bytes: number;
}

export interface QuarantineOptions {
  dir: string;
  /** Beyond it records are not set aside: their head waits, and the log with it. */
  bytesMax: number;
  log: Log;
}

/** Ids of traces that are remembered over all records, bytes; of later records any trace may be. */
const idBytesMax = 16 * 1024 * 1024;
/** How often is looked whether the files are still there. */
const lookMs = 1000;
const anyTime = { minStartNano: -(2n ** 63n), maxEndNano: 2n ** 63n };

export class Quarantine {
  readonly #options: QuarantineOptions;
  /** Path -> record. */
  readonly #records = new Map<string, AsideRecord>();
  #idBytes = 0;
  #lookedMs = 0;

  constructor(options: QuarantineOptions) {
    this.#options = options;
  }

  /** Reads what earlier processes set aside. Throws Unavailable. */
  async open(): Promise<void> {
    for (const record of await readAside(this.#options.dir)) this.#note(record);
  }

  /**
   * Writes a record durably; returns the file's path. Unavailable: `quarantine_failed` if the disk
   * refuses, `quarantine_full`.
   */
  async put({ tenant, appId, offset, bytes }: QuarantinedRecord): Promise<string> {
    const { dir, bytesMax } = this.#options;
    const name = asideName(appId, offset);
    const path = join(dir, tenant, name);
    const known = this.#records.get(path)?.sizeBytes ?? 0;
    if (this.totals().bytes - known + bytes.length > bytesMax) {
      const message =
        `put a record of ${bytes.length} bytes into quarantine: ${dir} would hold more than ` +
        `ingester.quarantine_bytes_max (${bytesMax}); export and remove what is in it`;
      throw new SpoorError("Unavailable", message, { reason: "quarantine_full" });
    }
    try {
      await writeDurably(path, bytes);
    } catch (cause) {
      throw quarantineError(`put a record into quarantine as ${path}`, cause);
    }
    const facts = await recordFacts(bytes);
    const sizeBytes = bytes.length;
    this.#note({ tenant, name, path, appId, offset, sizeBytes, atMs: Date.now(), facts });
    return path;
  }

  /**
   * A range of the log is committed: `aside` are the offsets that are in quarantine instead of in a
   * block. What else of it is there was set aside by an earlier try, or by a process that ended
   * before its commit, and is in a block now.
   */
  async afterCommit(range: LogRange, appId: string, aside: ReadonlySet<number>): Promise<void> {
    for (const record of this.#records.values()) {
      const { tenant, offset, path } = record;
      if (tenant !== range.tenant || record.appId !== appId || aside.has(offset)) continue;
      if (offset < range.fromOffset || offset >= range.toOffset) continue;
      try {
        await removeDurably(path);
      } catch (cause) {
        // Putting it back would count its spans twice: somebody must look at it.
        const { message } = quarantineError(`remove ${path}`, cause);
        this.#options.log.error({ path, error: message }, "a stored record stays in quarantine");
        continue;
      }
      this.#forget(record);
      this.#options.log.info({ path }, "a record that was in quarantine is in a block now");
    }
  }

  /** What is in quarantine, ordered by path. */
  list(): AsideRecord[] {
    this.#forgetMissing();
    return [...this.#records.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  totals(): QuarantineTotals {
    const totals = { records: 0, spans: 0, bytes: 0 };
    for (const { facts, sizeBytes } of this.list()) {
      totals.records++;
      totals.spans += facts?.spans ?? 0;
      totals.bytes += sizeBytes;
    }
    return totals;
  }

  /** What queries of a tenant may lack. */
  of(tenant: string): AsideSpans[] {
    if (this.#records.size === 0) return [];
    return this.list()
      .filter((record) => record.tenant === tenant)
      .map(({ facts }) => facts ?? { ...anyTime, traceIds: undefined });
  }

  /** People remove files once they have looked at them. */
  #forgetMissing(): void {
    const nowMs = performance.now();
    if (this.#records.size === 0 || nowMs - this.#lookedMs < lookMs) return;
    this.#lookedMs = nowMs;
    for (const record of this.#records.values()) {
      if (!existsSync(record.path)) this.#forget(record);
    }
  }

  #note(record: AsideRecord): void {
    const known = this.#records.get(record.path);
    if (known !== undefined) this.#forget(known);
    const ids = record.facts?.traceIds?.length ?? 0;
    const isMany = this.#idBytes + ids > idBytesMax;
    const { facts } = record;
    const bounded = facts && isMany ? { ...facts, traceIds: undefined } : facts;
    if (!isMany) this.#idBytes += ids;
    this.#records.set(record.path, { ...record, facts: bounded });
  }

  #forget({ path, facts }: AsideRecord): void {
    this.#records.delete(path);
    this.#idBytes -= facts?.traceIds?.length ?? 0;
  }
}
