/**
 * What all modules stand on, apart from each other: clock, store, limits, and so on. A simulation
 * hands over others of the same kinds.
 */
import { join, resolve } from "node:path";
import { collectDefaultMetrics, Registry } from "prom-client";
import { TenantActivity } from "#modules/distributor/activity.ts";
import { quarantineFolder } from "#modules/ingester/ingester.ts";
import type { LiveSpans, StoredSpans } from "#pkg/questions/shards.ts";
import type { StartPool } from "#modules/querier/job-pool.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import type { Environment } from "#pkg/config/interpolate.ts";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import { TenantLimits } from "#pkg/limits/limits.ts";
import { Refusals } from "#pkg/limits/refusals.ts";
import type { Log } from "#pkg/log/log.ts";
import { CacheEvictor } from "#pkg/objstore/cache-keeper.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { type ProbeOptions, probeStore } from "#pkg/objstore/probe.ts";
import { openStore, type StoreConfig, storeName } from "#pkg/objstore/store-config.ts";
import type { StartThread } from "#pkg/rpc/thread.ts";
import type { LogParts } from "#pkg/spanlog/file-log.ts";
import type { LogConfig } from "#pkg/spanlog/log-config.ts";
import { openTable, type Table } from "#pkg/table/table.ts";
import type { Tracer } from "#pkg/trace/trace.ts";
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

/** What the frontend asks. */
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
  /** How other threads open the same store. */
  storeConfig: StoreConfig;
  /** One table per tenant: modules share what they know of it. */
  tableOf: (tenant: string) => Table;
  /** How any thread opens the span log. */
  logConfig: LogConfig;
  /** Who owns the span log; its disk, where that is a simulated one. */
  logParts: Pick<LogParts, "isOwner" | "fs">;
  quarantineDir: string;
  limits: TenantLimits;
  /** What is wrong with the file of overrides, if anything. */
  overrides: Pick<Overrides, "problem">;
  refusals: Refusals;
  activity: TenantActivity;
  tracer: Tracer;
  /** Names of what runs, in the order of the start. */
  running: () => string[];
  /** Real threads unless given. */
  startThread?: StartThread;
  /** Pools of real threads unless given. */
  startPool?: StartPool;
  /** What stands between the frontend and the spans that it asks; nothing unless given. */
  spansThrough?: (spans: SpansOfModules) => SpansOfModules;
  /** A number in [0, 1), for the pauses between tries. */
  random?: () => number;
  /** Something broke that this process cannot mend: it must end. */
  onFatal: (error: SpoorError) => void;
}

export interface SharedOptions {
  config: SpoorConfig;
  configText: string;
  version: string;
  /** For `${VAR}` in the file of overrides. */
  env: Environment;
  clock: Clock;
  log: Log;
  /** Log lines that stderr did not take, so far. */
  droppedLogLines: () => number;
  onFatal: (error: SpoorError) => void;
}

/** The shared parts of `spoor serve`. Those that must be stopped are added to `parts`. */
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

/** What is wrong with a bucket is said together with its name. */
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

/** The cache on the local disk is kept within its bound by this thread, for all of them. */
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

/** Beyond this many tables, those that do not exist in the bucket are forgotten. */
const tablesMax = 10_000;

/** Returns the one Table of each tenant; `startThread` starts the threads of tables. */
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

/** Anyone can ask for any tenant: names without a table must not fill the memory. */
function forgetEmpty(tables: Map<string, Table>): void {
  for (const [tenant, { snapshot }] of tables) if (snapshot.version < 0) tables.delete(tenant);
}
