/** Opens the span log while no server runs, and puts quarantined records back into it. */
import { dirname, join } from "node:path";
import {
  type AsideRecord,
  finishPutBacks,
  putBack,
  quarantineFolder,
} from "#modules/ingester/ingester.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { dataDirLocked, hasCode, SpoorError } from "#pkg/errors/errors.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { type ObjectStore, openStore } from "#pkg/objstore/objstore.ts";
import { type LogConfig, openSpanLog, type SpanLog } from "#pkg/spanlog/spanlog.ts";
import { openTable } from "#pkg/table/table.ts";
import type { SpoorConfig } from "#cmd/spoor/config.ts";
import { lockDataFolder } from "#cmd/spoor/data-lock.ts";
import { storeConfigOf } from "#cmd/spoor/storage.ts";

export interface PutBack extends AsyncDisposable {
  /**
   * Appends a record to the log. Throws what `putBack` of the ingester throws, or Unavailable if
   * the log still holds the record.
   */
  putBack(record: AsideRecord): Promise<void>;
}

/** Locks the data folder and opens its log. Throws Unavailable while a server runs. */
export async function openPutBack(config: SpoorConfig, logDir: string): Promise<PutBack> {
  const dataDir = dirname(logDir);
  const lost: SpoorError[] = [];
  const log = openLog("warn");
  const onLost = (error: SpoorError): void => void lost.push(error);
  const lockOptions = { clock: systemClock, log, onLost };
  const lock = await lockDataFolder(dataDir, lockOptions).catch((error: unknown) => {
    if (!hasCode(error, "Unavailable") || error.reason !== dataDirLocked) throw error;
    const message = `${error.message}; stop spoor serve first, since a retry writes to its log`;
    throw new SpoorError("Unavailable", message, { reason: error.reason, cause: error });
  });
  const unlock = (): Promise<void> => lock.release();
  let spanLog: SpanLog | undefined;
  try {
    const endsPath = join(dataDir, "log-ends.json");
    const logConfig: LogConfig = { kind: "file", dir: logDir, endsPath, ...config.spanLog };
    const logParts = { clock: systemClock, log, isOwner: lock.isHeld };
    spanLog = await openSpanLog(logConfig, logParts);
    const store = await openStore(storeConfigOf(config.storage, config.server.dataDir));
    await finishPutBacks(quarantineFolder(dataDir), spanLog, log);
    return new LockedLog(spanLog, { store, unlock, lost });
  } catch (error) {
    await spanLog?.close();
    await unlock();
    throw error;
  }
}

interface Held {
  store: ObjectStore;
  unlock: () => Promise<void>;
  /** Filled when the lock is lost. */
  lost: readonly SpoorError[];
}

class LockedLog implements PutBack {
  readonly #spanLog: SpanLog;
  readonly #held: Held;
  /** Tenant -> appId -> log offset that the tenant's table has reached. */
  readonly #reached = new Map<string, ReadonlyMap<string, number>>();

  constructor(spanLog: SpanLog, held: Held) {
    this.#spanLog = spanLog;
    this.#held = held;
  }

  async putBack(record: AsideRecord): Promise<void> {
    const [lost] = this.#held.lost;
    if (lost !== undefined) throw lost;
    const reached = await this.#tableOf(record.tenant);
    const { appId, offset } = record;
    const isOfThisLog = appId.startsWith(`${this.#spanLog.id}/`);
    if (isOfThisLog && offset >= (reached.get(appId) ?? 0)) {
      const message = `${record.path} is still in the log: start spoor serve, which retries it`;
      throw new SpoorError("Unavailable", message, { reason: "not_passed" });
    }
    await putBack(record, this.#spanLog);
  }

  /**
   * Returns the offsets that the tenant's table has reached. Also advances the log past them, since
   * records below are stored.
   */
  async #tableOf(tenant: string): Promise<ReadonlyMap<string, number>> {
    const known = this.#reached.get(tenant);
    if (known !== undefined) return known;
    const { id, partitionCount } = this.#spanLog;
    const options = { store: this.#held.store, clock: systemClock, log: openLog("silent") };
    const { transactions } = await openTable({ ...options, tenant }).refresh();
    for (let index = 0; index < partitionCount; index++) {
      const offset = transactions.get(`${id}/${partitionCount}/${index}`) ?? 0;
      if (offset > this.#spanLog.durableEnd(index)) await this.#spanLog.advance(index, offset);
    }
    this.#reached.set(tenant, transactions);
    return transactions;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#spanLog.close();
    await this.#held.unlock();
  }
}
