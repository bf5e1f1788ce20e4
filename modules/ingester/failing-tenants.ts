/**
 * Tracks tenants whose table cannot be read. Such a tenant is not served. Its records stay unread
 * in the log, because only the table tells which are in blocks. Its pushes are refused, and its
 * query responses say why. Other tenants are served. The tables are read again until they are
 * readable.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { hasCode, newerFormat, toSpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import type { Table } from "#pkg/table/table.ts";

export interface FailingTenantsOptions {
  tableOf: (tenant: string) => Table;
  clock: Clock;
  log: Log;
  /** Called when the table of a failing tenant has been read. */
  onReadable: (tenant: string, table: Table) => Promise<void>;
}

/** Pause between attempts to read the tables. */
const retryMs = 5000;

/** The tenants whose table cannot be read, with a retry loop. */
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
   * Reads a tenant's table. If the table is damaged, marks the tenant as failing and returns
   * undefined. Throws what the store throws.
   */
  async read(tenant: string): Promise<Table | undefined> {
    const table = this.#options.tableOf(tenant);
    try {
      await table.refresh();
      return table;
    } catch (error) {
      // A newer format is an operator's mistake (this program is too old), not damage.
      if (!hasCode(error, "Corrupt") || error.reason === newerFormat) throw error;
      const { message, reason } = error;
      this.#failing.set(tenant, message);
      const text = "the table of a tenant cannot be read: the tenant is not served, retrying";
      this.#options.log.error({ tenant, error: message, reason }, text);
      return undefined;
    }
  }

  /** Starts the retry loop, which ends when no tenant is failing. */
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
    log.info({ tenant }, "the table of a tenant can be read again: the tenant is served");
  }
}
