/**
 * The running system as one table: which modules there are, in the order in which they start. They
 * stop in reverse. This is the only place that constructs modules and hands them to each other.
 */
import { join, resolve } from "node:path";
import { collectDefaultMetrics, Registry } from "prom-client";
import { Compactor } from "#modules/compactor/compactor.ts";
import { TenantActivity } from "#modules/distributor/activity.ts";
import { Distributor } from "#modules/distributor/distributor.ts";
import { Frontend } from "#modules/frontend/frontend.ts";
import { Ingester, quarantineFolder } from "#modules/ingester/ingester.ts";
import type { QuarantineTotals } from "#modules/ingester/quarantine.ts";
import { Querier } from "#modules/querier/querier.ts";
import { OtlpReceiver } from "#modules/receivers/otlp-receiver.ts";
import type { Environment } from "#pkg/config/interpolate.ts";
import { TenantLimits } from "#pkg/limits/limits.ts";
import { Refusals } from "#pkg/limits/refusals.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { CacheKeeper } from "#pkg/objstore/cache-keeper.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { type ProbeOptions, probeStore } from "#pkg/objstore/probe.ts";
import { openStore, type StoreConfig, storeName } from "#pkg/objstore/store-config.ts";
import { openFileLog } from "#pkg/spanlog/file-log.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import { openTable, type Table } from "#pkg/table/table.ts";
import type { Tracer } from "#pkg/trace/trace.ts";
import { version } from "#pkg/version/version.ts";
import type { ServerConfig, SpoorConfig } from "./config.ts";
import { lockDataFolder } from "./data-lock.ts";
import { logWriteSeconds, observeLogger, observeSpanLog, observeStore } from "./metrics.ts";
import { Overrides } from "./overrides.ts";
import { listening } from "./ports.ts";
import { isOwnReceiver, openTracing } from "./tracing.ts";
import { statusPage, statusPages } from "./status.ts";
import { storeConfigOf } from "./storage.ts";

export interface SpoorOptions {
  config: SpoorConfig;
  /** The effective configuration as YAML, secrets redacted, for `/config`. */
  configText: string;
  /** For `${VAR}` in the file of overrides. */
  env: Environment;
  clock: Clock;
  log: Log;
  /** Log lines that stderr did not take, so far. */
  droppedLogLines: () => number;
  /** Something broke that this process cannot mend: it must end. */
  onFatal: (error: SpoorError) => void;
}

export interface RunningSpoor {
  httpPort: number;
  otlpHttpPort: number;
  otlpGrpcPort: number;
  /** Resolves when the log has been read again and queries see everything acknowledged. */
  ready: Promise<void>;
  /** All metrics. */
  registry: Registry;
  /** Reads the limits of tenants anew. Never rejects. */
  reload(): Promise<void>;
  /**
   * Stops taking, finishes answering, makes blocks of the heads. Resolves to true if everything is
   * in blocks, false if some of it stayed in the log (until the next start).
   */
  stop(deadlineMs: number): Promise<boolean>;
  /** Acknowledged spans that could not become a block; `spoor quarantine` puts them back. */
  quarantined(): QuarantineTotals;
}

interface Part {
  name: string;
  stop(deadlineMs: number): Promise<unknown>;
}

/** Starts everything; what was started before a failure is stopped again. */
export async function startSpoor(options: SpoorOptions): Promise<RunningSpoor> {
  const parts: Part[] = [];
  try {
    return await startParts(options, parts);
  } catch (error) {
    await stopParts(parts, 5000, options.log);
    throw error;
  }
}

async function startParts(options: SpoorOptions, parts: Part[]): Promise<RunningSpoor> {
  const { config, log } = options;
  const ground = await openGround(options, parts);
  const { spanLog } = ground;
  const ingester = await startIngester(options, ground, parts);
  const compactor = new Compactor({ ...ground, config: config.compactor, log: logOf("compactor") });
  parts.push({ name: "compactor", stop: () => compactor.stop() });
  const querier = new Querier({ ...ground, config: config.querier, log: logOf("querier") });
  parts.push({ name: "querier", stop: () => querier.stop() });
  const httpPort = await startFrontend(options, ground, { ingester, querier }, parts);
  const multiTenancy = config.server.multitenancy;
  const distributor = new Distributor({
    ...ground,
    config: config.distributor,
    multiTenancy,
    isTenantFailing: (tenant) => ingester.isTenantFailing(tenant),
    whyFailing: (tenant) => ingester.failing.get(tenant),
  });
  parts.push({ name: "distributor", stop: () => distributor.stop() });
  const receiver = new OtlpReceiver({
    ...ground,
    config: config.receivers,
    sink: distributor,
    log: logOf("receivers"),
  });
  const { httpPort: otlpHttp, grpcPort: otlpGrpc } = config.receivers;
  const ports = await listening(
    [
      { flag: "--otlp-http-port", port: otlpHttp },
      { flag: "--otlp-grpc-port", port: otlpGrpc },
    ],
    () => receiver.start(),
  );
  let flushed = false;
  parts.push({ name: "heads", stop: async () => (flushed = await flush(ingester, log)) });
  parts.push({ name: "receivers", stop: (deadlineMs) => receiver.stop(deadlineMs) });
  refuseOwnTracing(config.server, ports.httpPort);
  return {
    httpPort,
    otlpHttpPort: ports.httpPort,
    otlpGrpcPort: ports.grpcPort,
    registry: ground.registry,
    reload: () => ground.overrides.reload(),
    quarantined: () => ingester.quarantine.totals(),
    ready: ingester.caughtUp().then(() => compactor.start()),
    stop: async (deadlineMs) => {
      await stopParts(parts, deadlineMs, log);
      return flushed && isAllInBlocks(spanLog);
    },
  };

  function logOf(module: string): Log {
    return log.child({ module });
  }
}

function refuseOwnTracing({ tracingEndpoint, tracingToSelf }: ServerConfig, port: number): void {
  if (tracingToSelf || !isOwnReceiver(tracingEndpoint, port)) return;
  const message =
    `server.tracing_endpoint ${tracingEndpoint} is this process itself: ` +
    "say server.tracing_to_self: true if that is meant";
  throw new SpoorError("InvalidInput", message, { reason: "usage" });
}

const formerOwnersCheckMs = 5000;

/** What all modules stand on. */
interface Ground {
  dataDir: string;
  logDir: string;
  registry: Registry;
  clock: Clock;
  storeConfig: StoreConfig;
  store: ObjectStore;
  spanLog: SpanLog;
  tableOf: (tenant: string) => Table;
  limits: TenantLimits;
  overrides: Overrides;
  refusals: Refusals;
  activity: TenantActivity;
  tracer: Tracer;
}

async function openGround(options: SpoorOptions, parts: Part[]): Promise<Ground> {
  const { config, clock, log, onFatal } = options;
  const dataDir = resolve(config.server.dataDir);
  const lock = await lockDataFolder(dataDir, { clock, log, onLost: onFatal });
  parts.push({ name: "data folder lock", stop: () => lock.release() });
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "spoor_" });
  observeLogger(registry, options.droppedLogLines);
  const ledger = new StoreLedger();
  observeStore(registry, ledger, config.storage.prices);
  const storeConfig = storeConfigOf(config.storage, dataDir, ledger);
  await keepCache(storeConfig, { clock, ledger }, parts);
  const store = await openStore(storeConfig);
  await probeBucket(store, storeConfig, { clock, ...config.storage });
  const logDir = join(dataDir, "log");
  const spanLog = await openFileLog(logDir, {
    clock,
    log,
    onGroup: logWriteSeconds(registry),
    isOwner: lock.isHeld,
    endsPath: join(dataDir, "log-ends.json"),
    ...config.spanLog,
  });
  parts.push({ name: "span log", stop: () => spanLog.close() });
  watchFormerOwners(spanLog, parts);
  observeSpanLog(registry, spanLog);
  const tableOf = tableCache(store, clock, log);
  const places = { dataDir, logDir, registry, clock, storeConfig, store, spanLog, tableOf };
  const tracing = await openTracing({
    endpoint: config.server.tracingEndpoint,
    sampleRatio: config.server.tracingSampleRatio,
  });
  const { tracer } = tracing;
  parts.push({ name: "tracing", stop: () => tracing.stop() });
  const activity = new TenantActivity(clock);
  return { ...places, tracer, activity, ...(await openLimits(options, registry, parts)) };
}

/** A former owner of the log may wake up at any time. */
function watchFormerOwners(spanLog: SpanLog, parts: Part[]): void {
  const timer = setInterval(() => void spanLog.checkFormerOwners(), formerOwnersCheckMs);
  timer.unref();
  parts.push({ name: "watch of former owners", stop: async () => clearInterval(timer) });
}

async function openLimits(
  { config, env, clock, log }: SpoorOptions,
  registry: Registry,
  parts: Part[],
): Promise<Pick<Ground, "limits" | "overrides" | "refusals">> {
  const { overridesFile: path, overridesPollMs: pollMs, ...defaults } = config.limits;
  const limits = new TenantLimits(defaults);
  const refusals = new Refusals(clock, log);
  const overrides = new Overrides({ path, pollMs, env, limits, log, registry });
  parts.push({ name: "limits", stop: async () => overrides.stop() });
  await overrides.start();
  return { limits, overrides, refusals };
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
  parts: Part[],
): Promise<void> {
  if (storeConfig.kind === "fs" || storeConfig.cache.diskBytes === 0) return;
  const { dir, diskBytes: bytesMax, used } = storeConfig.cache;
  const keeper = new CacheKeeper({ dir, bytesMax, used, clock, ledger });
  await keeper.start();
  parts.push({ name: "disk cache", stop: () => keeper.stop() });
}

async function startIngester(
  options: SpoorOptions,
  ground: Ground,
  parts: Part[],
): Promise<Ingester> {
  const { config, log, onFatal } = options;
  const ingester = new Ingester({
    ...ground,
    config: config.ingester,
    quarantineDir: quarantineFolder(ground.dataDir),
    log: log.child({ module: "ingester" }),
    onFatal,
  });
  parts.push({ name: "ingester", stop: () => ingester.stop() });
  await ingester.start();
  ingester.warmUp();
  return ingester;
}

/** Returns the port. */
async function startFrontend(
  options: SpoorOptions,
  ground: Ground,
  { ingester, querier }: { ingester: Ingester; querier: Querier },
  parts: Part[],
): Promise<number> {
  const { config, clock, log } = options;
  const modules = (): string[] => parts.map(({ name }) => name);
  const bucketWaitMs = config.frontend.storeStallMs;
  const own = { ingester, modules, bucketWaitMs, startedMs: clock.nowMs(), version };
  const sources = { ...ground, ...own };
  const frontend = new Frontend({
    ...ground,
    config: config.frontend,
    multiTenancy: config.server.multitenancy,
    version,
    log: log.child({ module: "frontend" }),
    live: ingester,
    stored: querier,
    readiness: () => (ingester.isReady ? undefined : "the span log is being read again"),
    configText: () => options.configText,
    status: (viewer) => statusPage(sources, viewer),
    statusPages: statusPages(sources),
    adminToken: config.server.adminToken,
    pathPrefix: config.server.httpPathPrefix,
  });
  const wanted = [{ flag: "--http-port", port: config.frontend.port }];
  const { port } = await listening(wanted, () => frontend.start());
  parts.push({ name: "frontend", stop: () => frontend.stop() });
  return port;
}

/** Stops the parts, last first, each within what is left of the deadline. */
async function stopParts(parts: Part[], deadlineMs: number, log: Log): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  for (const part of parts.splice(0).reverse()) {
    const { name } = part;
    const leftMs = Math.max(100, endMs - performance.now());
    try {
      const late = Symbol("late");
      const timer = Promise.withResolvers<typeof late>();
      const timeout = setTimeout(() => timer.resolve(late), leftMs);
      const result = await Promise.race([part.stop(leftMs), timer.promise]);
      clearTimeout(timeout);
      if (result === late)
        log.warn({ part: name, waitedMs: Math.round(leftMs) }, "part did not stop in time");
    } catch (error) {
      log.error({ part: name, error: String(error) }, "part failed to stop");
    }
  }
}

/** Whether the log has nothing left: a request that was answered after the flush would be there. */
function isAllInBlocks(spanLog: SpanLog): boolean {
  for (let i = 0; i < spanLog.partitionCount; i++) {
    if (spanLog.firstOffset(i) < spanLog.durableEnd(i)) return false;
  }
  return true;
}

async function flush(ingester: Ingester, log: Log): Promise<boolean> {
  try {
    await ingester.flush();
    return true;
  } catch (error) {
    log.error({ error: String(error) }, "heads could not be stored, they stay in the log");
    return false;
  }
}

/** Beyond this many tables, those that do not exist in the bucket are forgotten. */
const tablesMax = 10_000;

/** One Table per tenant: ingester, querier and compactor share what they know of it. */
function tableCache(store: ObjectStore, clock: Clock, log: Log): (tenant: string) => Table {
  const tables = new Map<string, Table>();
  return (tenant) => {
    let table = tables.get(tenant);
    if (table === undefined) {
      if (tables.size >= tablesMax) forgetEmpty(tables);
      table = openTable({ store, tenant, clock, log });
      tables.set(tenant, table);
    }
    return table;
  };
}

/** Anyone can ask for any tenant: names without a table must not fill the memory. */
function forgetEmpty(tables: Map<string, Table>): void {
  for (const [tenant, { snapshot }] of tables) if (snapshot.version < 0) tables.delete(tenant);
}
