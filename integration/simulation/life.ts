/**
 * A simulated process, from its start to its end: the module table of `spoor serve`
 * (cmd/spoor/modules.ts) on a simulated network, disk and clock.
 */
import { Registry } from "prom-client";
import { type Modules, moduleTable } from "#cmd/spoor/modules.ts";
import { type SharedParts, tableCache } from "#cmd/spoor/shared-parts.ts";
import { RunningParts, startRows } from "#cmd/spoor/start-rows.ts";
import { type InsideName, insideNames } from "#cmd/spoor/targets.ts";
import { TenantActivity } from "#modules/distributor/activity.ts";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { TenantLimits } from "#pkg/limits/tenant-limits.ts";
import { Refusals } from "#pkg/limits/refusals.ts";
import type { Log, LogFields } from "#pkg/log/log.ts";
import { cacheStore } from "#pkg/objstore/wrap/cache.ts";
import { coalesceStore } from "#pkg/objstore/wrap/coalesce.ts";
import { countStore } from "#pkg/objstore/wrap/count.ts";
import { cloudErrors, faultStore } from "#pkg/objstore/fault.testing.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import { limitStore } from "#pkg/objstore/wrap/limit.ts";
import { liveOverWire, storedOverWire } from "#pkg/questions/over-wire.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { retryStore } from "#pkg/objstore/wrap/retry.ts";
import type { StoreConfig } from "#pkg/objstore/store-config.ts";
import type { SpanLog } from "#pkg/spanlog/span-log.ts";
import { noTracer } from "#pkg/selftrace/selftrace.ts";
import type { Dice } from "./dice.ts";
import type { Disk } from "./disk.ts";
import { Gate } from "./gate.ts";
import { Network, type NetworkOptions } from "./network.ts";
import type { Settings } from "./settings.ts";
import { InlineThreads } from "./threads.ts";

export interface SimulatedProcessOptions extends Omit<NetworkOptions, "gate"> {
  number: number;
  settings: Settings;
  disk: Disk;
  /** Folder of the log on the disk. */
  logDir: string;
  dice: Dice;
  onLog: (level: string, message: string, fields: LogFields) => void;
  /** The process must end. */
  onFatal: (error: SpoorError) => void;
}

/** Identifies the bucket in maps of buckets; it is never opened. */
const bucket: StoreConfig = {
  kind: "s3",
  s3: { bucket: "simulation", endpoint: "virtual" },
} as StoreConfig;

const requestsMax = 16;
const KIB = 1024;

/** The default of `server.shutdown`. */
const stopMs = 30_000;

/** Modules of the process, once it has started. */
type ProcessModules = Pick<Modules, InsideName> & { spanLog: SpanLog };

export class SimulatedProcess {
  readonly number: number;
  readonly gate: Gate;
  readonly logDir: string;
  readonly disk: Disk;
  readonly threads: InlineThreads;
  readonly startedMs: number;
  isReady = false;
  /** Resolves when the start has ended, to its error if it failed; never rejects. */
  readonly started: Promise<SpoorError | undefined>;
  readonly #options: SimulatedProcessOptions;
  readonly #ledger = new StoreLedger();
  readonly #log: Log;
  readonly #running: RunningParts;
  #modules: ProcessModules | undefined;

  constructor(options: SimulatedProcessOptions) {
    const { time, dice, settings, disk, logDir } = options;
    this.#options = options;
    this.number = options.number;
    this.logDir = logDir;
    this.disk = disk;
    this.gate = new Gate(time);
    this.startedMs = time.nowMs;
    this.#log = new ProcessLog(options.onLog);
    this.#running = new RunningParts({ clock: this.gate, log: this.#log });
    const stores = { open: () => Promise.resolve(this.#openStore()) };
    const { gate } = this;
    this.threads = new InlineThreads({ ...settings, gate, dice: dice.fork(), stores });
    this.started = this.#start().then(
      () => undefined,
      (error: unknown) => error as SpoorError,
    );
  }

  /** Undefined until the process has started. */
  get modules(): ProcessModules | undefined {
    return this.#modules;
  }

  /** Stops as after SIGTERM. Returns whether all spans are in blocks. */
  async stop(): Promise<boolean> {
    const { heads } = this.#modules!;
    await this.#running.stop(stopMs);
    return heads.isFlushed;
  }

  /** Starts the modules of `spoor serve` except those with sockets, on simulated parts. */
  async #start(): Promise<void> {
    const shared = this.#sharedParts();
    const parts = this.#running;
    const made = await startRows(moduleTable, insideNames, { shared, parts });
    const { "span-log": spanLog, ingester } = made;
    for (let i = 0; i < spanLog.partitionCount; i++) {
      spanLog.subscribe(i, () => this.threads.wake());
    }
    this.#modules = { ...made, spanLog };
    void ingester.caughtUp().then(() => (this.isReady = true));
  }

  #sharedParts(): SharedParts {
    const { settings, disk, logDir, onFatal, dice } = this.#options;
    const { gate, threads } = this;
    const store = this.#openStore();
    const startThread = threads.start;
    const log = this.#log;
    return {
      log,
      store,
      startThread,
      onFatal,
      config: settings,
      configText: "",
      version: "simulation",
      clock: gate,
      registry: new Registry(),
      storeConfig: bucket,
      tableOf: tableCache({ store, clock: gate, log, startThread }),
      logConfig: { kind: "file", dir: logDir, freeBytesMin: 1024 * KIB, ...settings.log },
      logParts: { fs: disk.mount(gate) },
      quarantineDir: `${logDir}-quarantine`,
      limits: new TenantLimits(),
      overrides: { problem: undefined },
      refusals: new Refusals(gate, log),
      activity: new TenantActivity(gate),
      tracer: noTracer,
      running: () => this.#running.names,
      startPool: threads.startPool,
      // Sends all queries and results through the wire format, as between processes.
      spansThrough: ({ live, stored }) => ({
        live: liveOverWire(live),
        stored: storedOverWire(stored),
      }),
      random: () => dice.float(),
    };
  }

  /** Opens the store like pkg/objstore/store-config.ts, without wrappers that use real timers. */
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

class ProcessLog implements Log {
  readonly #onLog: SimulatedProcessOptions["onLog"];
  readonly #bound: LogFields;

  constructor(onLog: SimulatedProcessOptions["onLog"], bound: LogFields = {}) {
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
    return new ProcessLog(this.#onLog, { ...this.#bound, ...fields });
  }
}
