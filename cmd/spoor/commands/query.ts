/** `spoor query 'TRACEQL'`: searches a running Spoor (or Tempo) and prints one trace per line. */
import { z } from "zod";
import { type Clock, systemClock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  type CommandHelp,
  flagText,
  parseArgs,
  type ParsedArgs,
  usageError,
} from "#cmd/spoor/flags.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { type Paint, paintOf } from "#cmd/spoor/paint.ts";
import { apiFlags, getFromApi, apiTargetOf } from "./query-api.ts";
import { rangeFlags, rangeOf } from "./range-flags.ts";
import { formatExplained } from "./query-explain.ts";
import { escapeControls } from "./escape.ts";
import { durationText, timeText } from "./times.ts";

const answerBytesMax = 256 * 1024 * 1024;
const partialHeader = "x-spoor-partial";
const uint32Max = 4_294_967_295;

export const queryHelp: CommandHelp = {
  usage: "spoor query 'TRACEQL' [flags]",
  about:
    "Finds traces with a matching span and prints them, newest first: start, duration,\n" +
    "failed spans, trace id, root service and name, number of matching spans.",
  flags: [
    ...rangeFlags,
    { name: "--limit", value: "N", help: "most traces to print (default 20)" },
    {
      name: "--spans",
      short: "-s",
      help: "also print matching spans and their queried attributes",
    },
    { name: "--json", help: "print the server's response unchanged" },
    { name: "--explain", help: "run the query and report what it read and what it skipped" },
    ...apiFlags,
  ],
  notes: "Without --since and --start the server searches the last 15 minutes.",
};

export async function queryCommand(
  args: string[],
  io: CommandIo,
  clock: Clock = systemClock,
): Promise<number> {
  const parsed = parseArgs(args, queryHelp.flags);
  const [text, extra] = parsed.positionals;
  refuseNumberOfSpans(args, parsed);
  if (text === undefined) throw usageError("query: the query is missing: spoor query 'TRACEQL'");
  if (extra !== undefined) {
    throw usageError(
      `unexpected argument ${JSON.stringify(extra)}: write the query in quotes, as one argument`,
    );
  }
  const limit = limitOf(parsed);
  const params = new URLSearchParams({ q: text, limit: String(limit), ...rangeOf(parsed, clock) });
  const target = apiTargetOf(parsed);
  const isExplained = parsed.flags.has("--explain");
  const path = isExplained ? "api/search/explain" : "api/search";
  const url = new URL(`${path}?${params.toString()}`, target.endpoint);
  const answer = await getFromApi(target, url, {
    accept: "application/json",
    acceptPattern: /^application\/json\b/,
    bytesMax: answerBytesMax,
  });
  if (answer === undefined) {
    throw new SpoorError("NotFound", `there is no query API at ${target.endpoint.href}`);
  }
  const partial = answer.headers.get(partialHeader);
  if (partial !== null) {
    io.err(`spoor: warning: the result is partial: ${escapeControls(partial)}\n`);
  }
  const json = Buffer.from(answer.body).toString("utf8");
  if (parsed.flags.has("--json")) await io.out(`${json}\n`);
  else if (isExplained) await io.out(formatExplained(json));
  else await printTraces(parseAnswer(json), { limit, io, spans: parsed.flags.has("--spans") });
  return 0;
}

/** Refuses `-s 2`, as other tools accept it: here the number would be taken for the query. */
function refuseNumberOfSpans(args: readonly string[], { positionals }: ParsedArgs): void {
  const number = args.find((arg, i) => /^\d+$/.test(arg) && /^(?:-s|--spans)$/.test(args[i - 1]));
  if (number === undefined || !positionals.includes(number)) return;
  throw usageError(`-s, --spans takes no number, got ${number}: the server chooses how many spans`);
}

function limitOf(parsed: ParsedArgs): number {
  const text = flagText(parsed, "--limit") ?? "20";
  const limit = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (limit > 0 && limit <= uint32Max) return limit;
  throw usageError(`--limit ${JSON.stringify(text)} is not a number from 1 on`);
}

const nanos: z.ZodType<bigint> = z
  .union([z.string().regex(/^\d{1,20}$/), z.int().nonnegative()])
  .transform((value) => BigInt(value));

const spanSchema = z.object({
  spanID: z.string().regex(/^[0-9a-fA-F]{1,16}$/),
  name: z.string().default(""),
  durationNanos: nanos.default(0n),
  attributes: z
    .array(z.object({ key: z.string(), value: z.record(z.string(), z.unknown()) }))
    .default([]),
});

const traceSchema = z.object({
  traceID: z.string().regex(/^[0-9a-fA-F]{1,32}$/),
  rootServiceName: z.string().default(""),
  rootTraceName: z.string().default(""),
  startTimeUnixNano: nanos.default(0n),
  durationMs: z.number().nonnegative().default(0),
  spanSets: z
    .array(
      z.object({
        matched: z.int().nonnegative().default(0),
        spans: z.array(spanSchema).default([]),
      }),
    )
    .default([]),
  serviceStats: z
    .record(z.string(), z.object({ errorCount: z.int().nonnegative().default(0) }))
    .default({}),
});
const answerSchema = z.object({ traces: z.array(traceSchema).default([]) });

type FoundTrace = z.infer<typeof traceSchema>;

function parseAnswer(text: string): FoundTrace[] {
  try {
    return answerSchema.parse(JSON.parse(text)).traces;
  } catch (cause) {
    throw new SpoorError("InvalidInput", "the response is not a search result", { cause });
  }
}

async function printTraces(
  traces: readonly FoundTrace[],
  { limit, io, spans }: { limit: number; io: CommandIo; spans: boolean },
): Promise<void> {
  const paint = paintOf(io);
  if (traces.length === 0) {
    io.err("no trace in the range has a matching span\n");
    return;
  }
  const lines = traces.flatMap((trace) => [
    traceLine(trace, paint),
    ...(spans ? spanLines(trace, paint) : []),
  ]);
  await io.out(lines.map((line) => `${line}\n`).join(""));
  if (traces.length < limit) return;
  io.err(`these are the newest ${String(limit)} traces; for more, raise --limit\n`);
}

/** Formats a trace: time, duration, failed spans, id, root, number of matching spans. */
function traceLine(trace: FoundTrace, paint: Paint): string {
  const start = timeText(trace.startTimeUnixNano);
  const duration = trace.durationMs < 1 ? "<1ms" : durationText(millis(trace.durationMs));
  const id = trace.traceID.toLowerCase().padStart(32, "0");
  const root = `${trace.rootServiceName} · ${trace.rootTraceName}`;
  const matched = trace.spanSets.reduce((sum, set) => sum + set.matched, 0);
  const count = `${String(matched)} ${matched === 1 ? "span matches" : "spans match"}`;
  const shown = escapeControls(root.slice(0, 200));
  const errors = Object.values(trace.serviceStats).reduce((sum, one) => sum + one.errorCount, 0);
  const failed = errors === 0 ? "" : `${String(errors)} err`;
  const column = paint("red", failed.padStart(7));
  return `${start}  ${duration.padStart(8)} ${column}  ${id}  ${shown}  (${count})`;
}

function millis(ms: number): bigint {
  return BigInt(Math.round(ms)) * 1_000_000n;
}

/** Formats the matching spans in the response and counts the others. */
function spanLines({ spanSets }: FoundTrace, paint: Paint): string[] {
  return spanSets.flatMap(({ spans, matched }) => {
    const lines = spans.map(({ spanID, name, durationNanos, attributes }) => {
      const facts = attributes.map(({ key, value }) => `${key}=${String(Object.values(value)[0])}`);
      const text = `${name.slice(0, 200)}  ${facts.join(" ").slice(0, 1000)}`.trimEnd();
      const duration = durationText(durationNanos).padStart(8);
      return `  ${spanID.padStart(16, "0")}  ${duration}  ${escapeControls(text)}`;
    });
    const more = matched - spans.length;
    return more > 0 ? [...lines, paint("dim", `  and ${String(more)} more`)] : lines;
  });
}
