/** All modules of `spoor serve` in this process, on free ports, with a data folder of their own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "#cmd/spoor/flags.ts";
import { type RunningSpoor, startSpoor } from "#cmd/spoor/modules.ts";
import { configFlags, loadConfig } from "#cmd/spoor/serve-args.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/pino-log.ts";

/** Calls `use` when queries see everything, and stops it all afterwards. `config` is YAML. */
export async function withSpoorHere<T>(
  config: string,
  use: (spoor: RunningSpoor) => Promise<T>,
): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-here-"));
  const flags = ["--config", "here", "--data-dir", join(dir, "data"), "--http-port", "0"];
  flags.push("--otlp-http-port", "0", "--otlp-grpc-port", "0");
  const loaded = loadConfig(parseArgs(flags, configFlags), {}, () => config);
  const spoor = await startSpoor({
    ...loaded,
    target: "all",
    env: {},
    clock: systemClock,
    log: openLog("silent"),
    droppedLogLines: () => 0,
    onFatal: (error) => {
      throw error;
    },
  });
  try {
    await spoor.ready;
    return await use(spoor);
  } finally {
    await spoor.stop(10_000);
    await rm(dir, { recursive: true, force: true });
  }
}
