/**
 * The running system as one table: which modules there are, in the order in which they start. They
 * stop in reverse. This is the only place that constructs modules and hands them to each other;
 * `spoor serve` and the simulation start the same table with other shared parts.
 */
import { Compactor } from "#modules/compactor/compactor.ts";
import { Distributor } from "#modules/distributor/distributor.ts";
import { Frontend } from "#modules/frontend/frontend.ts";
import { Ingester } from "#modules/ingester/ingester.ts";
import type { QuarantineTotals } from "#modules/ingester/quarantine.ts";
import { Querier } from "#modules/querier/querier.ts";
import { OtlpReceiver } from "#modules/receivers/otlp-receiver.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { openSpanLog } from "#pkg/spanlog/log-config.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import { Access } from "#pkg/tenant/access.ts";
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

/** What each row makes. */
export interface Modules extends Record<ModuleName, unknown> {
  "span-log": SpanLog;
  "former-owners": void;
  ingester: Ingester;
  compactor: Compactor;
  querier: Querier;
  frontend: Frontend;
  /** The port that it listens on. */
  "http-port": number;
  distributor: Distributor;
  /** Whether a stop has made blocks of all heads. */
  heads: { isFlushed: boolean };
  /** The ports that they listen on, and what is there. */
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
  /** Resolves when the log has been read again and queries see everything acknowledged. */
  ready: Promise<void>;
  /** All metrics. */
  registry: SharedParts["registry"];
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

/** How long stopping may take after a start that failed. */
const failedStartMs = 5000;

/** Starts everything; what was started before a failure is stopped again. */
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
    "say server.tracing_to_self: true if that is meant";
  throw new SpoorError("InvalidInput", message, { reason: "usage" });
}

/** Whether the log has nothing left: a request that was answered after the flush would be there. */
function isAllInBlocks(spanLog: SpanLog): boolean {
  for (let i = 0; i < spanLog.partitionCount; i++) {
    if (spanLog.firstOffset(i) < spanLog.durableEnd(i)) return false;
  }
  return true;
}

function moduleLog({ log }: SharedParts, module: string): Log {
  return log.child({ module });
}

/** Who may ask for what, over all ports. */
function accessOf({ config: { server } }: SharedParts): Access {
  return new Access(server.multitenancy, server.adminToken);
}

/** What was begun is stopped if its start fails. */
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

/** A former owner of the log may wake up at any time. */
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

/** It begins when the log has been read again: until then that has the disk and the bucket. */
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
    readiness: () => (ingester.isReady ? undefined : "the span log is being read again"),
    configText: () => configText,
    status: (viewer) => statusPage(sources, viewer),
    statusPages: statusPages(sources),
    pathPrefix: config.server.httpPathPrefix,
  });
  return { made: frontend, stop: () => frontend.stop() };
}

/** The frontend closes it. */
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

/** Starts nothing: its stop, after that of the receivers, makes blocks of what they have taken. */
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
      log.error({ error: String(error) }, "heads could not be stored, they stay in the log");
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
