/**
 * `spoor verify`: writes known traces and reads them back, continuously or for a time. Exit codes:
 * 0 all checks passed; 1 a check failed, or nothing could be checked; 2 wrong arguments.
 */
import { systemClock } from "#pkg/clock/clock.ts";
import { type CommandHelp, flagText, parseArgs, usageError } from "#cmd/spoor/flags.ts";
import { durationFlag, numberFlag } from "#cmd/spoor/flag-values.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { openSender, sendFlags } from "#cmd/spoor/send/send-flags.ts";
import { stopOnSignal } from "#cmd/spoor/stop-signal.ts";
import { verifyMetrics } from "#cmd/spoor/verify/metrics.ts";
import { serveMetrics } from "#cmd/spoor/verify/metrics-port.ts";
import { stopAll } from "#pkg/listen/listen.ts";
import { type FailedCheck, Verifier } from "#cmd/spoor/verify/verifier.ts";
import { apiTargetOf } from "./query-api.ts";
import { escapeControls } from "./escape.ts";

export const verifyHelp: CommandHelp = {
  usage: "spoor verify [flags]",
  about:
    "Writes known traces and reads them back, by id and by search, after 2 s, 10 s, 1 min and\n" +
    "so on up to 7 days, and compares every attribute.",
  flags: [
    ...sendFlags,
    {
      name: "--query-endpoint",
      value: "URL",
      help: "URL of the query API (default http://127.0.0.1:3200)",
    },
    { name: "--duration", value: "DURATION", help: "how long to run (default: until stopped)" },
    { name: "--interval", value: "DURATION", help: "time between two traces (default 1s)" },
    { name: "--seed", value: "S", help: "seed of the traces (default: random)" },
    {
      name: "--metrics",
      value: "HOST:PORT",
      help: "serve /metrics for Prometheus there; port 0: any free port",
    },
  ],
  notes:
    "At the end the newest 2,000 traces are checked once more. Exit codes: 0 all checks\n" +
    "passed, 1 a check failed, or nothing could be checked, 2 wrong arguments.",
};

export async function verifyCommand(args: string[], io: CommandIo): Promise<number> {
  const parsed = parseArgs(args, verifyHelp.flags);
  if (parsed.positionals.length > 0) {
    throw usageError(`unexpected argument ${JSON.stringify(parsed.positionals[0])}`);
  }
  const durationMs = durationFlag(parsed, "--duration", Number.POSITIVE_INFINITY);
  const intervalMs = Math.max(1, durationFlag(parsed, "--interval", 1000));
  const random = Math.floor(Math.random() * 2 ** 31);
  const seed = numberFlag(parsed, "--seed", { fallback: random, min: 0 });
  const metricsAt = parseMetricsAddress(flagText(parsed, "--metrics"));
  const target = apiTargetOf(parsed, "--query-endpoint");
  const sender = openSender(parsed, 4);
  const stop = stopOnSignal();
  const { signal } = stop;
  const clock = systemClock;
  const pending = (): number => verifier.pendingCount;
  const metrics = verifyMetrics(pending);
  const onFailure = (failure: FailedCheck): void => io.err(failureLine(failure));
  const checker = { target, clock, signal };
  const verifier = new Verifier({ seed, sender, checker, clock, metrics, onFailure });
  const server = metricsAt && (await serveMetrics(metrics, metricsAt, io));
  const progress = setInterval(
    () => io.err(progressText(verifier, io.isTerminal)),
    io.isTerminal ? 1000 : progressMs,
  );
  try {
    await io.out(`verifying with seed ${seed}\n`);
    await runFor({ durationMs, intervalMs, signal }, verifier);
    // A trace that was just acknowledged may become visible a moment later.
    await sleepUnless(signal, verifier.settlingMs);
    if (!signal.aborted) await verifier.runLast();
  } finally {
    clearInterval(progress);
    if (io.isTerminal) io.err("\n");
    stop.release();
    sender.close();
    if (server !== undefined) await stopAll([server], 0);
  }
  const { writtenCount, unwrittenCount, checkCount, failureCount } = verifier;
  await io.out(
    `${writtenCount} traces written, ${unwrittenCount} not acknowledged, ` +
      `${checkCount} checks, ${failureCount} failed\n`,
  );
  return failureCount === 0 && checkCount > 0 ? 0 : 1;
}

/** Interval of progress lines if stderr is not a terminal, milliseconds. */
const progressMs = 60_000;

/** Returns a progress line; on a terminal it replaces the previous one. */
function progressText(verifier: Verifier, isTerminal: boolean): string {
  const { writtenCount, checkCount, failureCount, pendingCount } = verifier;
  const text =
    `${writtenCount} traces written, ${checkCount} checks, ${failureCount} failed, ` +
    `${pendingCount} traces waiting for their next check`;
  return isTerminal ? `\r${text}` : `${text}\n`;
}

interface Pace {
  durationMs: number;
  intervalMs: number;
  signal: AbortSignal;
}

/** Writes a trace each interval, independent of the checks, until the time is over. */
async function runFor({ durationMs, intervalMs, signal }: Pace, verifier: Verifier): Promise<void> {
  const endMs = performance.now() + durationMs;
  const each = async (work: () => Promise<void>, pauseMs: number): Promise<void> => {
    let nextMs = performance.now();
    while (performance.now() < endMs && !signal.aborted) {
      await work();
      nextMs = Math.max(performance.now(), nextMs + pauseMs);
      const waitMs = Math.min(nextMs, endMs) - performance.now();
      if (waitMs > 0) await sleepUnless(signal, waitMs);
    }
  };
  await Promise.all([each(() => verifier.write(), intervalMs), each(() => verifier.runDue(), 200)]);
}

async function sleepUnless(signal: AbortSignal, ms: number): Promise<void> {
  try {
    await systemClock.sleep(Math.ceil(ms), signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function failureLine({ kind, traceId, age, reason, message }: FailedCheck): string {
  return `FAIL ${kind} ${traceId} at age ${age}: ${reason}: ${escapeControls(message)}\n`;
}

function parseMetricsAddress(text: string | undefined): { host: string; port: number } | undefined {
  if (text === undefined) return undefined;
  const match = /^(.+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match !== null && port <= 65_535) {
    return { host: match[1].replace(/^\[(.*)\]$/, "$1"), port };
  }
  throw usageError(`--metrics ${JSON.stringify(text)} is not like 127.0.0.1:9100`);
}
