/**
 * `spoor load`: loads a backend with generated traffic. Exit codes: 0 every span was acknowledged;
 * 1 some were not; 2 wrong arguments.
 */
import { systemClock } from "#pkg/clock/clock.ts";
import { Traffic } from "#pkg/loadgen/loadgen.ts";
import { type CommandHelp, parseArgs, usageError } from "#cmd/spoor/flags.ts";
import { durationFlag, numberFlag } from "#cmd/spoor/flag-values.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { progressLine, summaryOf, summaryText } from "#cmd/spoor/load/load-text.ts";
import { LoadCounts, runLoad } from "#cmd/spoor/load/run-load.ts";
import { openSender, sendFlags } from "#cmd/spoor/send/send-flags.ts";
import { stopOnSignal } from "#cmd/spoor/stop-signal.ts";

const progressMs = 2000;

export const loadHelp: CommandHelp = {
  usage: "spoor load [flags]",
  about:
    "Sends the traffic of a shop with 50 services: traces of 1 to 40 spans and a few of\n" +
    "thousands, with errors, links and slow tails. The same seed sends the same traces.",
  flags: [
    ...sendFlags,
    {
      name: "--spans-per-second",
      value: "N",
      help: "rate (default 1000; 0: as fast as the server responds)",
    },
    { name: "--duration", value: "DURATION", help: "how long to send (default 30s)" },
    { name: "--traces", value: "N", help: "stop after this many traces" },
    { name: "--seed", value: "S", help: "seed of the random numbers (default 1)" },
    { name: "--in-flight", value: "N", help: "most requests in flight (default 64)" },
    {
      name: "--drain",
      value: "DURATION",
      help: "how long refused requests are retried after the end (default 30s)",
    },
    { name: "--json", help: "print the summary as JSON" },
  ],
  notes: "Exit codes: 0 every span was acknowledged, 1 some were not, 2 wrong arguments.",
};

export async function loadCommand(args: string[], io: CommandIo): Promise<number> {
  const parsed = parseArgs(args, loadHelp.flags);
  if (parsed.positionals.length > 0) {
    throw usageError(`unexpected argument ${JSON.stringify(parsed.positionals[0])}`);
  }
  const spansPerSecond = numberFlag(parsed, "--spans-per-second", { fallback: 1000, min: 0 });
  const seed = numberFlag(parsed, "--seed", { fallback: 1, min: 0 });
  const inFlightMax = numberFlag(parsed, "--in-flight", { fallback: 64, min: 1 });
  const tracesMax = numberFlag(parsed, "--traces", { fallback: Number.POSITIVE_INFINITY, min: 1 });
  // With a number of traces, all of them are sent, without a time limit.
  const defaultMs = parsed.flags.has("--traces") ? Number.POSITIVE_INFINITY : 30_000;
  const durationMs = durationFlag(parsed, "--duration", defaultMs);
  const drainMs = durationFlag(parsed, "--drain", 30_000);
  const sender = openSender(parsed, inFlightMax);
  // At a low rate an instance sends incomplete requests about once a second.
  const lingerSpans = spansPerSecond === 0 ? undefined : Math.min(20_000, spansPerSecond);
  const traffic = new Traffic({ seed, lingerSpans, tracesMax });
  const counts = new LoadCounts();
  const startedMs = performance.now();
  const startedCpu = process.cpuUsage();
  const seconds = (): number => (performance.now() - startedMs) / 1000;
  const timer = setInterval(() => io.err(progressLine(counts, seconds())), progressMs);
  const stop = stopOnSignal();
  try {
    const { signal } = stop;
    const common = { traffic, sender, clock: systemClock, spansPerSecond, durationMs };
    await runLoad({ ...common, inFlightMax, drainMs, signal }, counts);
  } finally {
    clearInterval(timer);
    stop.release();
    sender.close();
  }
  const { user, system } = process.cpuUsage(startedCpu);
  const facts = {
    seconds: seconds(),
    traces: traffic.traceCount,
    cpuSeconds: (user + system) / 1e6,
  };
  const summary = summaryOf(counts, facts);
  const isJson = parsed.flags.has("--json");
  await io.out(isJson ? `${JSON.stringify(summary)}\n` : summaryText(summary, counts));
  return counts.acknowledgedSpans === counts.sentSpans ? 0 : 1;
}
