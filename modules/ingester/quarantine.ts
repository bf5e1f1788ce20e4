/**
 * The quarantine holds records that could not become a block. They are written to it before the
 * committed offset passes them. They are in no block, so query responses that they may concern (by
 * tenant, time range and trace ids) report them.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { AsideSpans } from "#pkg/questions/questions.ts";
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
  /** Spans, except in records that do not parse. */
  spans: number;
  bytes: number;
}

export interface QuarantineOptions {
  dir: string;
  /** Most bytes. Beyond it `put` fails: the record's head waits, and the log with it. */
  bytesMax: number;
  log: Log;
}

/** Most bytes of trace ids kept for all records. Later records may then contain any trace. */
const idBytesMax = 16 * 1024 * 1024;
/** Interval of checks whether the files still exist. */
const lookMs = 1000;
const anyTime = { minStartNano: -(2n ** 63n), maxEndNano: 2n ** 63n };

/** The records in the quarantine folder. */
export class Quarantine {
  readonly #options: QuarantineOptions;
  /** Path -> record. */
  readonly #records = new Map<string, AsideRecord>();
  #idBytes = 0;
  #lookedMs = 0;

  constructor(options: QuarantineOptions) {
    this.#options = options;
  }

  /** Reads the records of earlier processes. Throws Unavailable. */
  async open(): Promise<void> {
    for (const record of await readAside(this.#options.dir)) this.#note(record);
  }

  /**
   * Writes a record durably and returns the file's path. Throws Unavailable: `quarantine_failed` if
   * the disk fails, `quarantine_full` beyond `bytesMax`.
   */
  async put({ tenant, appId, offset, bytes }: QuarantinedRecord): Promise<string> {
    const { dir, bytesMax } = this.#options;
    const name = asideName(appId, offset);
    const path = join(dir, tenant, name);
    const known = this.#records.get(path)?.sizeBytes ?? 0;
    if (this.totals().bytes - known + bytes.length > bytesMax) {
      const message =
        `put a record of ${bytes.length} bytes into quarantine: ${dir} would hold more than ` +
        `ingester.quarantine_bytes_max (${bytesMax}); export and remove its records`;
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
   * Removes records of a committed range from quarantine, except the offsets in `aside`, which are
   * in no block. Other records of the range were written by an earlier attempt, or by a process
   * that ended before its commit, and are in a block now.
   */
  async afterCommit(range: LogRange, appId: string, aside: ReadonlySet<number>): Promise<void> {
    for (const record of this.#records.values()) {
      const { tenant, offset, path } = record;
      if (tenant !== range.tenant || record.appId !== appId || aside.has(offset)) continue;
      if (offset < range.fromOffset || offset >= range.toOffset) continue;
      try {
        await removeDurably(path);
      } catch (cause) {
        // If somebody put the record back, its spans would be stored twice.
        const { message } = quarantineError(`remove ${path}`, cause);
        const text = "a stored record stays in quarantine: remove it, do not put it back";
        this.#options.log.error({ path, error: message }, text);
        continue;
      }
      this.#forget(record);
      this.#options.log.info({ path }, "a record that was in quarantine is in a block now");
    }
  }

  /** Returns the records in quarantine, ordered by path. */
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

  /** Returns the spans that queries of a tenant may lack. */
  of(tenant: string): AsideSpans[] {
    if (this.#records.size === 0) return [];
    return this.list()
      .filter((record) => record.tenant === tenant)
      .map(({ facts }) => facts ?? { ...anyTime, traceIds: undefined });
  }

  /** Forgets records whose file an operator has removed. */
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
