/** `spoor query 'TRACEQL'`: asks a running Spoor (or Tempo) for traces and prints one per line. */
import { z } from "zod";
import { type Clock, systemClock } from "#pkg/clock/clock.ts";
import { parseDuration } from "#pkg/config/duration.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  type CommandHelp,
  flagText,
  parseArgs,
  type ParsedArgs,
  usageError,
} from "#cmd/spoor/flags.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { apiFlags, getFromApi, placeOfApi } from "./query-api.ts";
import { formatExplained } from "./query-explain.ts";
import { durationText, escapeControls, timeText } from "./trace-text.ts";

const answerBytesMax = 256 * 1024 * 1024;
const partialHeader = "x-spoor-partial";
const uint32Max = 4_294_967_295;

export const queryHelp: CommandHelp = {
  usage: "spoor query 'TRACEQL' [flags]",
  about:
    "Finds traces with a span that matches, and prints the newest first: start, duration," +
    "\ntrace id, root service and name, how many spans match.",
  flags: [
    { name: "--since", value: "DURATION", help: "how far back from now to look, e.g. 1h" },
    {
      name: "--start",
      value: "TIME",
      help: "look from this time on (2026-01-31T10:00:00Z or unix seconds)",
    },
    { name: "--end", value: "TIME", help: "look up to this time (default now)" },
    { name: "--limit", value: "N", help: "how many traces at most (default 20)" },
    { name: "--json", help: "print the server's answer as it is" },
    { name: "--explain", help: "run the query and tell how: what was asked, left out and read" },
    ...apiFlags,
  ],
  notes: "Without --since and --start the server looks at the last 15 minutes.",
};

export async function queryCommand(
  args: string[],
  io: CommandIo,
  clock: Clock = systemClock,
): Promise<number> {
  const parsed = parseArgs(args, queryHelp.flags);
  const [text, extra] = parsed.positionals;
  if (text === undefined) throw usageError("query: the query is missing: spoor query 'TRACEQL'");
  if (extra !== undefined) {
    throw usageError(
      `unexpected argument ${JSON.stringify(extra)}: write the query in quotes, as one argument`,
    );
  }
  const limit = limitOf(parsed);
  const params = new URLSearchParams({ q: text, limit: String(limit), ...rangeOf(parsed, clock) });
  const place = placeOfApi(parsed);
  const isExplained = parsed.flags.has("--explain");
  const path = isExplained ? "api/search/explain" : "api/search";
  const url = new URL(`${path}?${params.toString()}`, place.endpoint);
  const answer = await getFromApi(place, url, {
    accept: "application/json",
    acceptPattern: /^application\/json\b/,
    bytesMax: answerBytesMax,
  });
  if (answer === undefined) {
    throw new SpoorError("NotFound", `there is no query API at ${place.endpoint.href}`);
  }
  const partial = answer.headers.get(partialHeader);
  if (partial !== null) {
    io.err(`spoor: warning: not all could be read: ${escapeControls(partial)}\n`);
  }
  const json = Buffer.from(answer.body).toString("utf8");
  if (parsed.flags.has("--json")) await io.out(`${json}\n`);
  else if (isExplained) await io.out(formatExplained(json));
  else await printTraces(parseAnswer(json), { limit, io });
  return 0;
}

function limitOf(parsed: ParsedArgs): number {
  const text = flagText(parsed, "--limit") ?? "20";
  const limit = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (limit > 0 && limit <= uint32Max) return limit;
  throw usageError(`--limit ${JSON.stringify(text)} is not a number from 1 on`);
}

/** The parameters `start` and `end`, unix seconds; none to leave the range to the server. */
function rangeOf(parsed: ParsedArgs, clock: Clock): Record<string, string> {
  const since = flagText(parsed, "--since");
  const start = flagText(parsed, "--start");
  const end = flagText(parsed, "--end");
  if (since !== undefined && (start !== undefined || end !== undefined)) {
    throw usageError("--since goes without --start and --end");
  }
  if (end !== undefined && start === undefined) throw usageError("--end needs --start");
  if (since === undefined && start === undefined) return {};
  // A span that ends in this second belongs to the range.
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

/** Unix seconds of a time. */
function timeOf(flag: string, text: string): number {
  const isDate = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text);
  const exact = /^\d{1,10}$/.test(text) ? Number(text) : isDate ? Date.parse(text) / 1000 : -1;
  const seconds = flag === "--end" ? Math.ceil(exact) : Math.floor(exact);
  if (seconds >= 0 && seconds <= uint32Max) return seconds;
  throw usageError(`${flag} ${JSON.stringify(text)} is not like 2026-01-31T10:00:00Z`);
}

const nanos: z.ZodType<bigint> = z
  .union([z.string().regex(/^\d{1,20}$/), z.int().nonnegative()])
  .transform((value) => BigInt(value));

const traceSchema = z.object({
  traceID: z.string().regex(/^[0-9a-fA-F]{1,32}$/),
  rootServiceName: z.string().default(""),
  rootTraceName: z.string().default(""),
  startTimeUnixNano: nanos.default(0n),
  durationMs: z.number().nonnegative().default(0),
  spanSets: z.array(z.object({ matched: z.int().nonnegative().default(0) })).default([]),
});
const answerSchema = z.object({ traces: z.array(traceSchema).default([]) });

type FoundTrace = z.infer<typeof traceSchema>;

function parseAnswer(text: string): FoundTrace[] {
  try {
    return answerSchema.parse(JSON.parse(text)).traces;
  } catch (cause) {
    throw new SpoorError("InvalidInput", "the answer is not a search result", { cause });
  }
}

async function printTraces(
  traces: readonly FoundTrace[],
  { limit, io }: { limit: number; io: CommandIo },
): Promise<void> {
  if (traces.length === 0) {
    io.err("no trace in the range has a span that matches\n");
    return;
  }
  await io.out(traces.map((trace) => `${traceLine(trace)}\n`).join(""));
  if (traces.length < limit) return;
  io.err(`these are the newest ${String(limit)}; there may be more (--limit)\n`);
}

function traceLine(trace: FoundTrace): string {
  const start = timeText(trace.startTimeUnixNano);
  const duration = trace.durationMs < 1 ? "<1ms" : durationText(millis(trace.durationMs));
  const id = trace.traceID.toLowerCase().padStart(32, "0");
  const root = `${trace.rootServiceName} · ${trace.rootTraceName}`;
  const matched = trace.spanSets.reduce((sum, set) => sum + set.matched, 0);
  const count = `${String(matched)} ${matched === 1 ? "span matches" : "spans match"}`;
  const shown = escapeControls(root.slice(0, 200));
  return `${start}  ${duration.padStart(8)}  ${id}  ${shown}  (${count})`;
}

function millis(ms: number): bigint {
  return BigInt(Math.round(ms)) * 1_000_000n;
}
