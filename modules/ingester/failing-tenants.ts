/**
 * Tenants whose table cannot be read. They are not served: their records stay in the log, unread,
 * as only the table says which are in blocks; their pushes are refused, and their queries say so.
 * All others are served. Their tables are tried again, and they are served once one can be read.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { hasCode, toSpoorError } from "#pkg/errors/errors.ts";
import { newerFormat } from "#pkg/errors/reasons.ts";
import type { Log } from "#pkg/log/log.ts";
import type { Table } from "#pkg/table/table.ts";

export interface FailingTenantsOptions {
  tableOf: (tenant: string) => Table;
  clock: Clock;
  log: Log;
  /** The table of a tenant has been read. */
  onReadable: (tenant: string, table: Table) => Promise<void>;
}

/** Pause between tries to read the tables. */
const retryMs = 5000;

export class FailingTenants {
  readonly #options: FailingTenantsOptions;
  /** Tenant -> why its table cannot be read. */
  readonly #failing = new Map<string, string>();
  readonly #abort = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(options: FailingTenantsOptions) {
    this.#options = options;
  }

  /** Tenant -> why its table cannot be read. */
  get all(): ReadonlyMap<string, string> {
    return this.#failing;
  }

  /**
   * Reads a tenant's table; returns undefined for one that is damaged, which counts as failing from
   * then on. Throws what the store throws.
   */
  async read(tenant: string): Promise<Table | undefined> {
    const table = this.#options.tableOf(tenant);
    try {
      await table.refresh();
      return table;
    } catch (error) {
      // A newer format means that this program is too old: a mistake of the operator, not damage.
      if (!hasCode(error, "Corrupt") || error.reason === newerFormat) throw error;
      const { message, reason } = error;
      this.#failing.set(tenant, message);
      const text = "the table of a tenant cannot be read: it is not served until it can be";
      this.#options.log.error({ tenant, error: message, reason }, text);
      return undefined;
    }
  }

  /** Tries the tables again until none fails any more. */
  start(): void {
    this.#loop = this.#retry();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
  }

  async #retry(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#abort;
    while (this.#failing.size > 0 && !signal.aborted) {
      try {
        await clock.sleep(retryMs, signal);
      } catch (error) {
        if (!signal.aborted) throw error;
        return;
      }
      for (const tenant of this.#failing.keys()) {
        try {
          await this.#tryAgain(tenant);
        } catch (error) {
          const why = toSpoorError(error).message;
          if (!signal.aborted) log.debug({ tenant, error: why }, "the table still cannot be read");
        }
      }
    }
  }

  async #tryAgain(tenant: string): Promise<void> {
    const { tableOf, onReadable, log } = this.#options;
    const table = tableOf(tenant);
    await table.refresh({ signal: this.#abort.signal });
    await onReadable(tenant, table);
    this.#failing.delete(tenant);
    log.info({ tenant }, "the table of a tenant can be read again: it is served");
  }
}
