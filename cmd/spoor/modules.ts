/**
 * The running system as one table: the modules in their start order. They stop in reverse order.
 * Only this file constructs modules and connects them. `spoor serve` and the simulation start the
 * same table with different shared parts.
 */
import { Compactor } from "#modules/compactor/compactor.ts";
import { Distributor } from "#modules/distributor/distributor.ts";
import { Frontend } from "#modules/frontend/frontend.ts";
import { Ingester, type QuarantineTotals } from "#modules/ingester/ingester.ts";
import { Querier } from "#modules/querier/querier.ts";
import { OtlpReceiver } from "#modules/receivers/receivers.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { openSpanLog, type SpanLog } from "#pkg/spanlog/spanlog.ts";
import { Access } from "#pkg/tenant/tenant.ts";
import { version } from "#pkg/version/version.ts";
import type { ServerConfig } from "./config.ts";
import { logWriteSeconds, observeSpanLog } from "./metrics.ts";
import { listening } from "./ports.ts";
import { type Served, servedMethods, servedRoutes } from "./served.ts";
import { openSharedParts, type SharedOptions, type SharedParts } from "./shared-parts.ts";
import { type Row, rowMaker, RunningParts, type Started, startRows } from "./start-rows.ts";
import { statusPage, statusPages, type StatusSources } from "./status.ts";
import { type ModuleName, type Target, targets } from "./targets.ts";
import { isOwnReceiver } from "./tracing.ts";

/** The result of each row. */
export interface Modules extends Record<ModuleName, unknown> {
  "span-log": SpanLog;
  "former-owners": void;
  ingester: Ingester;
  compactor: Compactor;
  querier: Querier;
  frontend: Frontend;
  /** The port of API and pages. */
  "http-port": number;
  distributor: Distributor;
  /** Whether a stop has stored all heads as blocks. */
  heads: { isFlushed: boolean };
  /** The ports of the receivers, and what each serves. */
  receivers: { httpPort: number; grpcPort: number; served: Served[] };
}

const row = rowMaker<SharedParts, Modules>();

export const moduleTable: readonly Row<SharedParts, Modules>[] = [
  row({ name: "span-log", needs: [], start: startSpanLog }),
  row({ name: "former-owners", needs: ["span-log"], start: startFormerOwners }),
  row({ name: "ingester", needs: ["span-log"], start: startIngester }),
  row({ name: "compactor", needs: ["ingester"], start: startCompactor }),
  row({ name: "querier", needs: [], start: startQuerier }),
  row({ name: "frontend", needs: ["span-log", "ingester", "querier"], start: startFrontend }),
  row({ name: "http-port", needs: ["frontend"], start: startHttpPort }),
  row({ name: "distributor", needs: ["span-log", "ingester"], start: startDistributor }),
  row({ name: "heads", needs: ["ingester"], start: startHeads }),
  row({ name: "receivers", needs: ["distributor"], start: startReceivers }),
];

export interface SpoorOptions extends Omit<SharedOptions, "version"> {
  target: Target;
}

export interface RunningSpoor {
  httpPort: number;
  otlpHttpPort: number;
  otlpGrpcPort: number;
  /** Every route and method of all ports. */
  served: readonly Served[];
  /** Resolves when the log has been read and queries see everything acknowledged. */
  ready: Promise<void>;
  /** All metrics. */
  registry: SharedParts["registry"];
  /** Reloads the limits of tenants. Never rejects. */
  reload(): Promise<void>;
  /**
   * Stops accepting requests, finishes those in flight and stores the heads as blocks. Resolves to
   * true if everything is in blocks, false if some records stay in the log until the next start.
   */
  stop(deadlineMs: number): Promise<boolean>;
  /** Acknowledged spans that could not become a block; `spoor quarantine` puts them back. */
  quarantined(): QuarantineTotals;
}

/** How long a stop may take after a failed start, milliseconds. */
const failedStartMs = 5000;

/** Starts everything. If a start fails, stops the parts that run and throws the error. */
export async function startSpoor(options: SpoorOptions): Promise<RunningSpoor> {
  const parts = new RunningParts(options);
  try {
    const shared = await openSharedParts({ ...options, version }, parts);
    const made = await startRows(moduleTable, targets[options.target], { shared, parts });
    const { ingester, heads, receivers } = made;
    refuseOwnTracing(options.config.server, receivers.httpPort);
    return {
      httpPort: made["http-port"],
      otlpHttpPort: receivers.httpPort,
      otlpGrpcPort: receivers.grpcPort,
      served: [...servedRoutes("api", made.frontend.routes), ...receivers.served],
      registry: shared.registry,
      reload: () => shared.overrides.reload(),
      quarantined: () => ingester.quarantine.totals(),
      ready: ingester.caughtUp(),
      stop: async (deadlineMs) => {
        await parts.stop(deadlineMs);
        return heads.isFlushed && isAllInBlocks(made["span-log"]);
      },
    };
  } catch (error) {
    await parts.stop(failedStartMs);
    throw error;
  }
}

function refuseOwnTracing({ tracingEndpoint, tracingToSelf }: ServerConfig, port: number): void {
  if (tracingToSelf || !isOwnReceiver(tracingEndpoint, port)) return;
  const message =
    `server.tracing_endpoint ${tracingEndpoint} is this process itself: ` +
    "set server.tracing_to_self: true to allow this";
  throw new SpoorError("InvalidInput", message, { reason: "usage" });
}

/** Returns whether the log is empty: a request acknowledged after the flush would be in it. */
function isAllInBlocks(spanLog: SpanLog): boolean {
  for (let i = 0; i < spanLog.partitionCount; i++) {
    if (spanLog.firstOffset(i) < spanLog.durableEnd(i)) return false;
  }
  return true;
}

function moduleLog({ log }: SharedParts, module: string): Log {
  return log.child({ module });
}

/** Access rights, which hold on all ports. */
function accessOf({ config: { server } }: SharedParts): Access {
  return new Access(server.multitenancy, server.adminToken);
}

/** Starts a part; stops it if the start fails. */
async function startOrStop(
  start: () => Promise<void>,
  stop: () => Promise<unknown>,
): Promise<void> {
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startSpanLog(shared: SharedParts): Promise<Started<SpanLog>> {
  const { clock, log, registry, logConfig, logParts } = shared;
  const onGroup = logWriteSeconds(registry);
  const spanLog = await openSpanLog(logConfig, { ...logParts, clock, log, onGroup });
  observeSpanLog(registry, spanLog);
  return { made: spanLog, stop: () => spanLog.close() };
}

const formerOwnersCheckMs = 5000;

/** Checks regularly for late writes: a paused former owner of the log may wake up at any time. */
async function startFormerOwners(
  _shared: SharedParts,
  needed: Pick<Modules, "span-log">,
): Promise<Started<void>> {
  const spanLog = needed["span-log"];
  const timer = setInterval(() => void spanLog.checkFormerOwners(), formerOwnersCheckMs);
  timer.unref();
  return { made: undefined, stop: async () => clearInterval(timer) };
}

async function startIngester(
  shared: SharedParts,
  needed: Pick<Modules, "span-log">,
): Promise<Started<Ingester>> {
  const ingester = new Ingester({
    ...shared,
    spanLog: needed["span-log"],
    config: shared.config.ingester,
    log: moduleLog(shared, "ingester"),
  });
  await startOrStop(
    () => ingester.start(),
    () => ingester.stop(),
  );
  ingester.warmUp();
  return { made: ingester, stop: () => ingester.stop() };
}

/** Starts the compactor after the log has been read, which needs the disk and the bucket first. */
async function startCompactor(
  shared: SharedParts,
  { ingester }: Pick<Modules, "ingester">,
): Promise<Started<Compactor>> {
  const log = moduleLog(shared, "compactor");
  const compactor = new Compactor({ ...shared, config: shared.config.compactor, log });
  let isStopped = false;
  void ingester.caughtUp().then(() => {
    if (!isStopped) compactor.start();
  });
  const stop = (): Promise<void> => {
    isStopped = true;
    return compactor.stop();
  };
  return { made: compactor, stop };
}

async function startQuerier(shared: SharedParts): Promise<Started<Querier>> {
  const log = moduleLog(shared, "querier");
  const querier = new Querier({ ...shared, config: shared.config.querier, log });
  return { made: querier, stop: () => querier.stop() };
}

async function startFrontend(
  shared: SharedParts,
  needed: Pick<Modules, "span-log" | "ingester" | "querier">,
): Promise<Started<Frontend>> {
  const { config, clock, running, configText, spansThrough } = shared;
  const { ingester, querier } = needed;
  const spans = { live: ingester, stored: querier };
  const sources: StatusSources = {
    ...shared,
    ingester,
    spanLog: needed["span-log"],
    modules: running,
    bucketWaitMs: config.frontend.storeStallMs,
    startedMs: clock.nowMs(),
  };
  const frontend = new Frontend({
    ...shared,
    config: config.frontend,
    access: accessOf(shared),
    log: moduleLog(shared, "frontend"),
    ...(spansThrough?.(spans) ?? spans),
    readiness: () => (ingester.isReady ? undefined : "the span log is being read"),
    configText: () => configText,
    status: (viewer) => statusPage(sources, viewer),
    statusPages: statusPages(sources),
    pathPrefix: config.server.httpPathPrefix,
  });
  return { made: frontend, stop: () => frontend.stop() };
}

/** Opens the port of the frontend, which closes it when it stops. */
async function startHttpPort(
  { config }: SharedParts,
  { frontend }: Pick<Modules, "frontend">,
): Promise<Started<number>> {
  const wanted = [{ flag: "--http-port", port: config.frontend.port }];
  const { port } = await listening(wanted, () => frontend.start());
  return { made: port };
}

async function startDistributor(
  shared: SharedParts,
  needed: Pick<Modules, "span-log" | "ingester">,
): Promise<Started<Distributor>> {
  const { ingester } = needed;
  const distributor = new Distributor({
    ...shared,
    spanLog: needed["span-log"],
    config: shared.config.distributor,
    isTenantFailing: (tenant) => ingester.isTenantFailing(tenant),
    whyFailing: (tenant) => ingester.failing.get(tenant),
  });
  return { made: distributor, stop: () => distributor.stop() };
}

/** Starts nothing. Its stop, after the stop of the receivers, stores all heads as blocks. */
async function startHeads(
  { log }: SharedParts,
  { ingester }: Pick<Modules, "ingester">,
): Promise<Started<Modules["heads"]>> {
  const heads = { isFlushed: false };
  const stop = async (): Promise<void> => {
    try {
      await ingester.flush();
      heads.isFlushed = true;
    } catch (error) {
      log.error({ error: String(error) }, "heads could not be stored, their spans stay in the log");
    }
  };
  return { made: heads, stop };
}

async function startReceivers(
  shared: SharedParts,
  { distributor }: Pick<Modules, "distributor">,
): Promise<Started<Modules["receivers"]>> {
  const { receivers: config } = shared.config;
  const log = moduleLog(shared, "receivers");
  const access = accessOf(shared);
  const receiver = new OtlpReceiver({ ...shared, config, sink: distributor, access, log });
  const wanted = [
    { flag: "--otlp-http-port", port: config.httpPort },
    { flag: "--otlp-grpc-port", port: config.grpcPort },
  ];
  const ports = await listening(wanted, () => receiver.start());
  const served = [
    ...servedRoutes("otlp_http", receiver.routes),
    ...servedMethods("otlp_grpc", receiver.methods),
  ];
  return { made: { ...ports, served }, stop: (deadlineMs) => receiver.stop(deadlineMs) };
}
