/** Flags for the time range of a query. */
import type { Clock } from "#pkg/clock/clock.ts";
import { parseDuration } from "#pkg/config/duration.ts";
import { type FlagSpec, flagText, type ParsedArgs, usageError } from "#cmd/spoor/flags.ts";

const uint32Max = 4_294_967_295;

export const rangeFlags: readonly FlagSpec[] = [
  { name: "--since", value: "DURATION", help: "search this far back from now, e.g. 1h" },
  {
    name: "--start",
    value: "TIME",
    help: "search from this time on (2026-01-31T10:00:00Z or unix seconds)",
  },
  { name: "--end", value: "TIME", help: "search up to this time (default now)" },
];

/** Returns the parameters `start` and `end`, unix seconds; none for the server's default range. */
export function rangeOf(parsed: ParsedArgs, clock: Clock): Record<string, string> {
  const since = flagText(parsed, "--since");
  const start = flagText(parsed, "--start");
  const end = flagText(parsed, "--end");
  if (since !== undefined && (start !== undefined || end !== undefined)) {
    throw usageError("--since cannot be combined with --start or --end");
  }
  if (end !== undefined && start === undefined) throw usageError("--end needs --start");
  if (since === undefined && start === undefined) return {};
  // The range includes spans of the current second.
  const endSeconds =
    end === undefined ? Math.floor(clock.nowMs() / 1000) + 1 : timeOf("--end", end);
  const startSeconds =
    start === undefined ? endSeconds - sinceSeconds(since ?? "") : timeOf("--start", start);
  if (startSeconds < endSeconds) return { start: String(startSeconds), end: String(endSeconds) };
  throw usageError(`--start ${start ?? ""} is not before the end of the range`);
}

function sinceSeconds(text: string): number {
  let ms: number;
  try {
    ms = parseDuration(text);
  } catch (cause) {
    throw usageError(`--since: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (ms > 0 && ms / 1000 <= uint32Max / 4) return Math.ceil(ms / 1000) + 1;
  throw usageError(`--since ${JSON.stringify(text)} must be more than 0 and less than 34 years`);
}

/** Parses a time to unix seconds. */
function timeOf(flag: string, text: string): number {
  const isDate = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text);
  const exact = /^\d{1,10}$/.test(text) ? Number(text) : isDate ? Date.parse(text) / 1000 : -1;
  const seconds = flag === "--end" ? Math.ceil(exact) : Math.floor(exact);
  if (seconds >= 0 && seconds <= uint32Max) return seconds;
  throw usageError(`${flag} ${JSON.stringify(text)} is not like 2026-01-31T10:00:00Z`);
}
