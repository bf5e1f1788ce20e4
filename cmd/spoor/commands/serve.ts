/**
 * `spoor serve`: runs until SIGTERM or SIGINT, then stops gracefully; a second signal ends it at
 * once and loses nothing that was acknowledged (it is in the log). Exit codes: 0 every span is in a
 * block; 1 it failed to start or broke; 2 wrong arguments; 3 it stopped, but some spans are only in
 * the log and become blocks after the next start; 4 all others are in blocks, but some are in
 * quarantine.
 */
import { systemClock } from "#pkg/clock/clock.ts";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { dataDirLost } from "#pkg/errors/reasons.ts";
import { type Log, openProcessLog } from "#pkg/log/log.ts";
import { version } from "#pkg/version/version.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { type RunningSpoor, startSpoor } from "#cmd/spoor/modules.ts";
import { parseServeArgs, type ServeArgs } from "#cmd/spoor/serve-args.ts";
import { watchStopSignals } from "#cmd/spoor/stop-signal.ts";

const exitBroken = 1;
const exitInLogOnly = 3;
const exitQuarantine = 4;
/** A signal while stopping: shells report 128 + 15 for SIGTERM. */
const exitSecondSignal = 143;
/** What of the shutdown time is kept for the last steps after the heads. */
const reserveMs = 1000;

export async function serveCommand(args: string[], io: CommandIo): Promise<number> {
  const serveArgs = parseServeArgs(args, io.env, io.readFile);
  const { config, configText, target } = serveArgs;
  sizeThreadPool(config.spanLog.partitionCount);
  const { stderr } = process;
  const colors = stderr.isTTY && io.env["NO_COLOR"] === undefined;
  const { log, droppedLines } = await openProcessLog({ ...config.log, stderr, colors });
  for (const warning of serveArgs.warnings) log.warn({ warning }, "config has an old name");
  const broken = Promise.withResolvers<SpoorError>();
  const spoor = await startSpoor({
    config,
    configText,
    target,
    env: io.env,
    clock: systemClock,
    log,
    droppedLogLines: droppedLines,
    onFatal: (error) => broken.resolve(error),
  });
  const signal = Promise.withResolvers<NodeJS.Signals>();
  watchStopSignals({
    first: signal.resolve,
    // Whatever still runs is in the log already: ending now loses nothing.
    again: () => process.exit(exitSecondSignal),
  });
  process.on("SIGHUP", () => void spoor.reload());
  await io.out(banner(serveArgs, spoor));
  void announceReady(spoor, io, log);
  const end = await Promise.race([signal.promise, broken.promise]);
  if (typeof end !== "string") {
    log.error({ error: end.message, reason: end.reason }, "spoor must stop");
    // The new owner of the data folder has the log too: nothing is left to do for its records.
    await spoor.stop(end.reason === dataDirLost ? 100 : 5000);
    return exitBroken;
  }
  return await stopGracefully(spoor, end, config.server.shutdownMs, log);
}

/**
 * Each partition's fsync holds one thread of libuv's pool; with the default of four threads all
 * other files would wait for them. Read by libuv when the pool is first used, which nothing does
 * before this. The user's own setting stays.
 */
function sizeThreadPool(partitionCount: number): void {
  process.env.UV_THREADPOOL_SIZE ??= String(partitionCount + 4);
}

async function stopGracefully(
  spoor: RunningSpoor,
  signal: NodeJS.Signals,
  shutdownMs: number,
  log: Log,
): Promise<number> {
  log.info({ signal }, "stopping");
  const inBlocks = await spoor.stop(Math.max(reserveMs, shutdownMs - reserveMs));
  const { records, spans } = spoor.quarantined();
  if (records > 0) {
    log.error(
      { records, spans },
      'acknowledged spans are in quarantine, in no block: "spoor quarantine ls" lists them',
    );
  }
  if (!inBlocks) {
    log.warn({}, "stopped, some spans are only in the log: the next start makes blocks of them");
    return exitInLogOnly;
  }
  if (records > 0) {
    log.warn({}, "stopped, all spans are in blocks except those in quarantine");
    return exitQuarantine;
  }
  log.info({}, "stopped, all spans are in blocks");
  return 0;
}

async function announceReady(spoor: RunningSpoor, io: CommandIo, log: Log): Promise<void> {
  try {
    await spoor.ready;
    log.debug({}, "ready");
    await io.out("ready\n");
  } catch (error) {
    log.warn({ error: String(error) }, "could not say that it is ready");
  }
}

function banner({ config }: ServeArgs, spoor: RunningSpoor): string {
  const url = (host: string, port: number): string => {
    const shown = host === "0.0.0.0" || host === "::" ? "localhost" : host;
    return `http://${shown.includes(":") ? `[${shown}]` : shown}:${port}`;
  };
  return [
    `spoor ${version}`,
    `  page and API  ${url(config.frontend.host, spoor.httpPort)}`,
    `  OTLP/HTTP     ${url(config.receivers.host, spoor.otlpHttpPort)}`,
    `  OTLP/gRPC     ${url(config.receivers.host, spoor.otlpGrpcPort)}`,
    `  data          ${config.server.dataDir}`,
    "",
  ].join("\n");
}
