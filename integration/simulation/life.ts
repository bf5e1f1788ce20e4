/**
 * One life of the process: the modules of `spoor serve` (cmd/spoor/modules.ts), put together in the
 * same order, over a simulated network, disk and clock.
 */
import { Registry } from "prom-client";
import { Compactor } from "#modules/compactor/compactor.ts";
import { TenantActivity } from "#modules/distributor/activity.ts";
import { Distributor } from "#modules/distributor/distributor.ts";
import { Frontend } from "#modules/frontend/frontend.ts";
import { Ingester } from "#modules/ingester/ingester.ts";
import { Querier } from "#modules/querier/querier.ts";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { TenantLimits } from "#pkg/limits/limits.ts";
import { Refusals } from "#pkg/limits/refusals.ts";
import type { Log, LogFields } from "#pkg/log/log.ts";
import { cacheStore } from "#pkg/objstore/cache.ts";
import { coalesceStore } from "#pkg/objstore/coalesce.ts";
import { countStore } from "#pkg/objstore/count.ts";
import { cloudErrors, faultStore } from "#pkg/objstore/fault.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import { limitStore } from "#pkg/objstore/limit.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { retryStore } from "#pkg/objstore/retry.ts";
import type { StoreConfig } from "#pkg/objstore/store-config.ts";
import { openFileLog } from "#pkg/spanlog/file-log.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import { openTable, type Table } from "#pkg/table/table.ts";
import { noTracer } from "#pkg/trace/trace.ts";
import type { Dice } from "./dice.ts";
import type { Disk } from "./disk.ts";
import { Gate } from "./gate.ts";
import { Network, type NetworkOptions } from "./network.ts";
import type { Settings } from "./settings.ts";
import { InlineThreads } from "./threads.ts";

export interface LifeOptions extends Omit<NetworkOptions, "gate"> {
  number: number;
  settings: Settings;
  disk: Disk;
  /** Folder of the log on that disk. */
  logDir: string;
  dice: Dice;
  onLog: (level: string, message: string, fields: LogFields) => void;
  /** The process must end. */
  onFatal: (error: SpoorError) => void;
}

/** Which bucket it is, for maps of buckets; nobody opens it. */
const bucket: StoreConfig = {
  kind: "s3",
  s3: { bucket: "simulation", endpoint: "virtual" },
} as StoreConfig;

const requestsMax = 16;
const KIB = 1024;

/** What the process is made of, once it has started. */
interface Parts {
  spanLog: SpanLog;
  ingester: Ingester;
  compactor: Compactor;
  querier: Querier;
  frontend: Frontend;
  distributor: Distributor;
}

export class Life {
  readonly number: number;
  readonly gate: Gate;
  readonly logDir: string;
  readonly disk: Disk;
  readonly threads: InlineThreads;
  readonly startedMs: number;
  isReady = false;
  /** How its start ends; never rejects. */
  readonly started: Promise<SpoorError | undefined>;
  readonly #options: LifeOptions;
  readonly #ledger = new StoreLedger();
  readonly #tables = new Map<string, Table>();
  readonly #log: Log;
  #parts: Parts | undefined;

  constructor(options: LifeOptions) {
    const { time, dice, settings, disk, logDir } = options;
    this.#options = options;
    this.number = options.number;
    this.logDir = logDir;
    this.disk = disk;
    this.gate = new Gate(time);
    this.startedMs = time.nowMs;
    this.#log = new LifeLog(options.onLog);
    const stores = { open: () => Promise.resolve(this.#openStore()) };
    const { gate } = this;
    this.threads = new InlineThreads({ ...settings, gate, dice: dice.fork(), stores });
    this.started = this.#start().then(
      () => undefined,
      (error: unknown) => error as SpoorError,
    );
  }

  /** Undefined before the start has ended. */
  get parts(): Parts | undefined {
    return this.#parts;
  }

  /** Stops as at SIGTERM. Returns whether everything is in blocks. */
  async stop(): Promise<boolean> {
    const { spanLog, ingester, compactor, querier, frontend, distributor } = this.#parts!;
    const flushed = await ingester.flush().then(
      () => true,
      () => false,
    );
    await distributor.stop();
    await frontend.stop();
    await querier.stop();
    await compactor.stop();
    await ingester.stop();
    await spanLog.close();
    return flushed;
  }

  async #start(): Promise<void> {
    const { settings, disk, logDir, onFatal, dice } = this.#options;
    const { gate, threads } = this;
    const spanLog = await openFileLog(logDir, {
      clock: gate,
      log: this.#log,
      fs: disk.mount(gate),
      freeBytesMin: 1024 * KIB,
      ...settings.log,
    });
    for (let i = 0; i < spanLog.partitionCount; i++) spanLog.subscribe(i, () => threads.wake());
    const random = (): number => dice.float();
    const store = this.#openStore();
    const ground = {
      spanLog,
      logDir,
      quarantineDir: `${logDir}-quarantine`,
      registry: new Registry(),
      clock: gate,
      store,
      storeConfig: bucket,
      tableOf: (tenant: string) => this.#tableOf(tenant, store),
      limits: new TenantLimits(),
      refusals: new Refusals(gate, this.#log),
      activity: new TenantActivity(gate),
      tracer: noTracer,
      log: this.#log,
      startThread: threads.start,
      startPool: threads.startPool,
      random,
    };
    const ingester = new Ingester({ ...ground, config: settings.ingester, onFatal });
    await ingester.start();
    const compactor = new Compactor({ ...ground, config: settings.compactor });
    const querier = new Querier({ ...ground, config: settings.querier });
    const frontend = this.#openFrontend(ground, ingester, querier);
    const distributor = new Distributor({
      ...ground,
      config: settings.distributor,
      multiTenancy: true,
      isTenantFailing: (tenant) => ingester.isTenantFailing(tenant),
    });
    this.#parts = { spanLog, ingester, compactor, querier, frontend, distributor };
    void ingester.caughtUp().then(() => {
      this.isReady = true;
      compactor.start();
    });
  }

  #openFrontend(
    ground: Omit<
      ConstructorParameters<typeof Frontend>[0],
      keyof typeof shown | "live" | "stored" | "config" | "readiness"
    >,
    ingester: Ingester,
    querier: Querier,
  ): Frontend {
    return new Frontend({
      ...ground,
      ...shown,
      config: this.#options.settings.frontend,
      live: ingester,
      stored: querier,
      readiness: () => (ingester.isReady ? undefined : "the span log is being read again"),
    });
  }

  #tableOf(tenant: string, store: ObjectStore): Table {
    let table = this.#tables.get(tenant);
    if (table === undefined) {
      const startThread = this.threads.start;
      table = openTable({ store, tenant, clock: this.gate, log: this.#log, startThread });
      this.#tables.set(tenant, table);
    }
    return table;
  }

  /** As pkg/objstore/store-config.ts does it, but for the wrappers with timers of their own. */
  #openStore(): ObjectStore {
    const { weather, dice } = this.#options;
    const { gate } = this;
    const ledger = this.#ledger;
    const network = new Network({ ...this.#options, gate, dice: dice.fork() });
    const faulty = faultStore(network, (call) => weather.storeFault(call), {
      error: cloudErrors(dice.uint32()),
      wait: () => gate.sleep(dice.magnitude(50, 30_000)),
    });
    const counted = countStore(faulty, ledger);
    const limited = limitStore(counted, { requestsMax, bytesMax: 4096 * KIB, ledger });
    const retrying = retryStore(limited, {
      attemptsMax: 6,
      backoffMinMs: 100,
      backoffMaxMs: 10_000,
      budgetShare: 0.2,
      budgetBurst: 100,
      clock: gate,
      ledger,
      random: () => dice.float(),
    });
    const ranges = { gapBytes: 4 * KIB, requestBytesMax: 256 * KIB, ledger };
    const isImmutable = (key: string): boolean => /^[^/]+\/blocks\//u.test(key);
    const caching = { isImmutable, memoryBytes: 1024 * KIB, disk: undefined, ledger };
    return cacheStore(coalesceStore(retrying, ranges), caching);
  }
}

/** What the frontend shows besides spans. */
const shown = {
  multiTenancy: true,
  version: "simulation",
  configText: () => "",
  status: async () => ({
    version: "",
    startedMs: 0,
    notReady: undefined,
    problems: [],
    tables: [],
  }),
  statusPages: {},
  adminToken: "",
  pathPrefix: "",
};

class LifeLog implements Log {
  readonly #onLog: LifeOptions["onLog"];
  readonly #bound: LogFields;

  constructor(onLog: LifeOptions["onLog"], bound: LogFields = {}) {
    this.#onLog = onLog;
    this.#bound = bound;
  }

  debug(fields: LogFields, message: string): void {
    this.#onLog("debug", message, { ...this.#bound, ...fields });
  }
  info(fields: LogFields, message: string): void {
    this.#onLog("info", message, { ...this.#bound, ...fields });
  }
  warn(fields: LogFields, message: string): void {
    this.#onLog("warn", message, { ...this.#bound, ...fields });
  }
  error(fields: LogFields, message: string): void {
    this.#onLog("error", message, { ...this.#bound, ...fields });
  }
  child(fields: LogFields): Log {
    return new LifeLog(this.#onLog, { ...this.#bound, ...fields });
  }
}
