/**
 * `spoor serve`: runs until SIGTERM or SIGINT, then stops gracefully. A second signal ends it at
 * once without losing acknowledged spans, which are in the log. Exit codes: 0 every span is in a
 * block; 1 the start failed or a fatal error occurred; 2 wrong arguments; 3 stopped, but some spans
 * are only in the log and become blocks after the next start; 4 stopped, some spans are in
 * quarantine and all others in blocks.
 */
import { systemClock } from "#pkg/clock/clock.ts";
import { dataDirLost, type SpoorError } from "#pkg/errors/errors.ts";
import { type Log, openProcessLog } from "#pkg/log/pino-log.ts";
import { version } from "#pkg/version/version.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { type RunningSpoor, startSpoor } from "#cmd/spoor/modules.ts";
import { parseServeArgs, type ServeArgs } from "#cmd/spoor/serve-args.ts";
import { watchStopSignals } from "#cmd/spoor/stop-signal.ts";

const exitBroken = 1;
const exitInLogOnly = 3;
const exitQuarantine = 4;
/** Exit code after a signal during the stop: shells report 128 + 15 for SIGTERM. */
const exitSecondSignal = 143;
/** Part of the shutdown time that is reserved for the steps after storing the heads. */
const reserveMs = 1000;

export async function serveCommand(args: string[], io: CommandIo): Promise<number> {
  const serveArgs = parseServeArgs(args, io.env, io.readFile);
  const { config, configText, target } = serveArgs;
  sizeThreadPool(config.spanLog.partitionCount);
  const { stderr } = process;
  const colors = stderr.isTTY && io.env["NO_COLOR"] === undefined;
  const { log, droppedLines } = await openProcessLog({ ...config.log, stderr, colors });
  for (const warning of serveArgs.warnings)
    log.warn({ warning }, "the config uses an old key name");
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
    // Everything acknowledged is in the log: ending now loses nothing.
    again: () => process.exit(exitSecondSignal),
  });
  process.on("SIGHUP", () => void spoor.reload());
  await io.out(banner(serveArgs, spoor));
  void announceReady(spoor, io, log);
  const end = await Promise.race([signal.promise, broken.promise]);
  if (typeof end !== "string") {
    log.error({ error: end.message, reason: end.reason }, "spoor must stop");
    // If the data folder has a new owner, it has the log too: nothing is left to store.
    await spoor.stop(end.reason === dataDirLost ? 100 : 5000);
    return exitBroken;
  }
  return await stopGracefully(spoor, end, config.server.shutdownMs, log);
}

/**
 * Sets the size of libuv's thread pool. Each partition's fsync blocks one thread; with the default
 * of four, all other file operations would wait. libuv reads the variable when the pool is first
 * used, which is after this call. A setting of the user is kept.
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
      'acknowledged spans are in quarantine, not in a block: "spoor quarantine ls" lists them',
    );
  }
  if (!inBlocks) {
    log.warn({}, "stopped, some spans are only in the log: the next start stores them as blocks");
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
    log.warn({ error: String(error) }, "could not report that spoor is ready");
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
