/**
 * The parts that all modules share: clock, store, limits and so on. A simulation supplies its own.
 */
import { join, resolve } from "node:path";
import { collectDefaultMetrics, Registry } from "prom-client";
import { TenantActivity } from "#modules/distributor/distributor.ts";
import { quarantineFolder } from "#modules/ingester/ingester.ts";
import type { LiveSpans, StoredSpans } from "#pkg/questions/questions.ts";
import type { StartPool } from "#modules/querier/querier.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import type { Environment } from "#pkg/config/config.ts";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import { Refusals, TenantLimits } from "#pkg/limits/limits.ts";
import type { Log } from "#pkg/log/log.ts";
import { CacheEvictor } from "#pkg/objstore/wrap/wrap.ts";
import {
  type ObjectStore,
  openStore,
  type ProbeOptions,
  probeStore,
  type StoreConfig,
  StoreLedger,
  storeName,
} from "#pkg/objstore/objstore.ts";
import type { StartThread } from "#pkg/threads/threads.ts";
import type { LogConfig, LogParts } from "#pkg/spanlog/spanlog.ts";
import { openTable, type Table } from "#pkg/table/table.ts";
import type { Tracer } from "#pkg/selftrace/selftrace.ts";
import type { ServerConfig, SpoorConfig } from "./config.ts";
import { lockDataFolder } from "./data-lock.ts";
import { observeLogger, observeStore } from "./metrics.ts";
import { Overrides } from "./overrides.ts";
import type { RunningParts } from "./start-rows.ts";
import { openTracing } from "./tracing.ts";
import { storeConfigOf } from "./storage.ts";

/** The parts of the config that modules read themselves. */
export interface ModulesConfig extends Pick<
  SpoorConfig,
  "receivers" | "distributor" | "ingester" | "querier" | "frontend" | "compactor"
> {
  server: Pick<ServerConfig, "multitenancy" | "adminToken" | "httpPathPrefix">;
}

/** The sources of spans for the frontend. */
interface SpansOfModules {
  live: LiveSpans;
  stored: StoredSpans;
}

export interface SharedParts {
  config: ModulesConfig;
  /** The effective configuration as YAML, secrets redacted, for `/config`. */
  configText: string;
  version: string;
  clock: Clock;
  log: Log;
  registry: Registry;
  store: ObjectStore;
  /** The configuration with which other threads open the same store. */
  storeConfig: StoreConfig;
  /** Returns a tenant's table; modules share it and its snapshot. */
  tableOf: (tenant: string) => Table;
  /** The configuration with which any thread opens the span log. */
  logConfig: LogConfig;
  /** The owner check of the span log, and its file system if that is a simulated one. */
  logParts: Pick<LogParts, "isOwner" | "fs">;
  quarantineDir: string;
  limits: TenantLimits;
  /** The error of the overrides file, if it is invalid. */
  overrides: Pick<Overrides, "problem">;
  refusals: Refusals;
  activity: TenantActivity;
  tracer: Tracer;
  /** Returns the names of running parts, in start order. */
  running: () => string[];
  /** Starts threads; real threads by default. */
  startThread?: StartThread;
  /** Starts pools; pools of real threads by default. */
  startPool?: StartPool;
  /** Wraps the sources of spans for the frontend; by default they are used directly. */
  spansThrough?: (spans: SpansOfModules) => SpansOfModules;
  /** Returns a number in [0, 1), for the pauses between retries. */
  random?: () => number;
  /** Called after an unrecoverable error: this process must end. */
  onFatal: (error: SpoorError) => void;
}

export interface SharedOptions {
  config: SpoorConfig;
  configText: string;
  version: string;
  /** Variables for `${VAR}` in the overrides file. */
  env: Environment;
  clock: Clock;
  log: Log;
  /** Returns the number of log lines dropped so far. */
  droppedLogLines: () => number;
  onFatal: (error: SpoorError) => void;
}

/** Opens the shared parts of `spoor serve`; adds those that must be stopped to `parts`. */
export async function openSharedParts(
  options: SharedOptions,
  parts: RunningParts,
): Promise<SharedParts & { overrides: Overrides }> {
  const { config, clock, log, onFatal } = options;
  const dataDir = resolve(config.server.dataDir);
  const lock = await lockDataFolder(dataDir, { clock, log, onLost: onFatal });
  parts.add("data folder lock", () => lock.release());
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "spoor_" });
  observeLogger(registry, options.droppedLogLines);
  const ledger = new StoreLedger();
  observeStore(registry, ledger, config.storage.prices);
  const storeConfig = storeConfigOf(config.storage, dataDir, ledger);
  await keepCache(storeConfig, { clock, ledger }, parts);
  const store = await openStore(storeConfig);
  await probeBucket(store, storeConfig, { clock, ...config.storage });
  const endsPath = join(dataDir, "log-ends.json");
  const tracer = await openTracer(config.server, parts);
  const limits = await openLimits(options, registry, parts);
  return {
    ...options,
    registry,
    store,
    storeConfig,
    tableOf: tableCache({ store, clock, log }),
    logConfig: { kind: "file", dir: join(dataDir, "log"), endsPath, ...config.spanLog },
    logParts: { isOwner: lock.isHeld },
    quarantineDir: quarantineFolder(dataDir),
    refusals: new Refusals(clock, log),
    activity: new TenantActivity(clock),
    tracer,
    running: () => parts.names,
    ...limits,
  };
}

async function openTracer(
  { tracingEndpoint, tracingSampleRatio }: ServerConfig,
  parts: RunningParts,
): Promise<Tracer> {
  const tracing = await openTracing({
    endpoint: tracingEndpoint,
    sampleRatio: tracingSampleRatio,
  });
  parts.add("tracing", () => tracing.stop());
  return tracing.tracer;
}

async function openLimits(
  { config, env, log }: SharedOptions,
  registry: Registry,
  parts: RunningParts,
): Promise<{ limits: TenantLimits; overrides: Overrides }> {
  const { overridesFile: path, overridesPollMs: pollMs, ...defaults } = config.limits;
  const limits = new TenantLimits(defaults);
  const overrides = new Overrides({ path, pollMs, env, limits, log, registry });
  parts.add("limits", async () => overrides.stop());
  await overrides.start();
  return { limits, overrides };
}

/** Probes the bucket; adds its name to errors. */
async function probeBucket(
  store: ObjectStore,
  storeConfig: StoreConfig,
  options: ProbeOptions,
): Promise<void> {
  try {
    await probeStore(store, options);
  } catch (cause) {
    const { code, message, reason, retryAfterMs } = toSpoorError(cause);
    const named = `bucket ${storeName(storeConfig)}: ${message}`;
    throw new SpoorError(code, named, { reason, retryAfterMs, cause });
  }
}

/** Starts the eviction of the disk cache, which this thread does for all threads. */
async function keepCache(
  storeConfig: StoreConfig,
  { clock, ledger }: { clock: Clock; ledger: StoreLedger },
  parts: RunningParts,
): Promise<void> {
  if (storeConfig.kind === "fs" || storeConfig.cache.diskBytes === 0) return;
  const { dir, diskBytes: bytesMax, used } = storeConfig.cache;
  const evictor = new CacheEvictor({ dir, bytesMax, used, clock, ledger });
  await evictor.start();
  parts.add("disk cache", () => evictor.stop());
}

/** Number of tables above which those that do not exist in the bucket are forgotten. */
const tablesMax = 10_000;

/** Returns a function with one Table per tenant; `startThread` starts the threads of tables. */
export function tableCache(options: {
  store: ObjectStore;
  clock: Clock;
  log: Log;
  startThread?: StartThread;
}): (tenant: string) => Table {
  const tables = new Map<string, Table>();
  return (tenant) => {
    let table = tables.get(tenant);
    if (table === undefined) {
      if (tables.size >= tablesMax) forgetEmpty(tables);
      table = openTable({ ...options, tenant });
      tables.set(tenant, table);
    }
    return table;
  };
}

/** Forgets tables that do not exist: requests with any tenant name must not fill the memory. */
function forgetEmpty(tables: Map<string, Table>): void {
  for (const [tenant, { snapshot }] of tables) if (snapshot.version < 0) tables.delete(tenant);
}
