/**
 * `spoor tags`, `spoor values` and `spoor services`: list attribute names and values of a running
 * Spoor (or Tempo).
 */
import { z } from "zod";
import { type Clock, systemClock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  type CommandHelp,
  type FlagSpec,
  flagText,
  parseArgs,
  type ParsedArgs,
  usageError,
} from "#cmd/spoor/flags.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { escapeControls } from "./escape.ts";
import { apiFlags, getFromApi, apiTargetOf } from "./query-api.ts";
import { rangeFlags, rangeOf } from "./range-flags.ts";

const answerBytesMax = 64 * 1024 * 1024;

const sharedFlags: readonly FlagSpec[] = [
  ...rangeFlags,
  { name: "--limit", value: "N", help: "most entries to print" },
  { name: "--json", help: "print the server's response unchanged" },
  ...apiFlags,
];
const filterFlag: FlagSpec = {
  name: "--query",
  value: "TRACEQL",
  help: "only from matching spans, e.g. '{ status = error }'",
};

export const tagsHelp: CommandHelp = {
  usage: "spoor tags [flags]",
  about: "Lists the attribute names that queries can use, most frequent first.",
  flags: [
    { name: "--scope", value: "SCOPE", help: "only this scope: span, resource, ..." },
    ...sharedFlags,
  ],
};

export const valuesHelp: CommandHelp = {
  usage: "spoor values NAME [flags]",
  about:
    "Lists the values of an attribute, most frequent first, each after its number of spans.\n" +
    "Example: spoor values resource.service.name",
  flags: [filterFlag, ...sharedFlags],
};

export const servicesHelp: CommandHelp = {
  usage: "spoor services [flags]",
  about: "Lists service names, most frequent first.",
  flags: [filterFlag, ...sharedFlags],
};

export async function tagsCommand(
  args: string[],
  io: CommandIo,
  clock: Clock = systemClock,
): Promise<number> {
  const parsed = parseArgs(args, tagsHelp.flags);
  noPositionals(parsed.positionals);
  const scope = flagText(parsed, "--scope");
  const json = await get(parsed, clock, {
    path: "api/v2/search/tags",
    params: scope === undefined ? {} : { scope },
  });
  const answer = parse(json, scopesSchema);
  const lines = answer.scopes.flatMap(({ name, tags }) =>
    tags.map((tag) => (name === "intrinsic" ? tag : `${name}.${tag}`)),
  );
  await print(parsed, io, json, lines);
  return 0;
}

export async function valuesCommand(
  args: string[],
  io: CommandIo,
  clock: Clock = systemClock,
): Promise<number> {
  const parsed = parseArgs(args, valuesHelp.flags);
  const [name, ...rest] = parsed.positionals;
  if (name === undefined) throw usageError("values: the name is missing: spoor values NAME");
  noPositionals(rest);
  return await printValues(parsed, io, { name, clock, hasCounts: true });
}

export async function servicesCommand(
  args: string[],
  io: CommandIo,
  clock: Clock = systemClock,
): Promise<number> {
  const parsed = parseArgs(args, servicesHelp.flags);
  noPositionals(parsed.positionals);
  return await printValues(parsed, io, { name: "resource.service.name", clock, hasCounts: false });
}

function noPositionals([extra]: readonly string[]): void {
  if (extra !== undefined) throw usageError(`unexpected argument ${JSON.stringify(extra)}`);
}

async function printValues(
  parsed: ParsedArgs,
  io: CommandIo,
  { name, clock, hasCounts }: { name: string; clock: Clock; hasCounts: boolean },
): Promise<number> {
  const q = flagText(parsed, "--query");
  const json = await get(parsed, clock, {
    path: `api/v2/search/tag/${encodeURIComponent(name)}/values`,
    params: { ...(q === undefined ? {} : { q }), ...(hasCounts ? { counts: "true" } : {}) },
  });
  const { tagValues } = parse(json, valuesSchema);
  // The most frequent value comes first, so its count is the widest.
  const width = String(tagValues[0]?.count ?? "").length;
  // Tempo sends no counts.
  const texts = tagValues.map(({ value, count }) =>
    count === undefined ? value : `${String(count).padStart(width)}  ${value}`,
  );
  await print(parsed, io, json, texts);
  return 0;
}

const scopesSchema = z.object({
  scopes: z
    .array(z.object({ name: z.string(), tags: z.array(z.string()).default([]) }))
    .default([]),
});
const valuesSchema = z.object({
  tagValues: z
    .array(z.object({ type: z.string(), value: z.string(), count: z.number().optional() }))
    .default([]),
});

async function get(
  parsed: ParsedArgs,
  clock: Clock,
  { path, params }: { path: string; params: Record<string, string> },
): Promise<string> {
  const target = apiTargetOf(parsed);
  const limit = flagText(parsed, "--limit");
  if (limit !== undefined && !/^[1-9]\d{0,8}$/.test(limit)) {
    throw usageError(`--limit ${JSON.stringify(limit)} is not a number from 1 on`);
  }
  const all = new URLSearchParams({ ...params, ...rangeOf(parsed, clock) });
  if (limit !== undefined) all.set("limit", limit);
  const answer = await getFromApi(target, new URL(`${path}?${all.toString()}`, target.endpoint), {
    accept: "application/json",
    acceptPattern: /^application\/json\b/,
    bytesMax: answerBytesMax,
  });
  if (answer === undefined) {
    throw new SpoorError("NotFound", `there is no query API at ${target.endpoint.href}`);
  }
  return Buffer.from(answer.body).toString("utf8");
}

function parse<T>(json: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(json));
  } catch (cause) {
    throw new SpoorError("InvalidInput", "the response is not a list of tags", { cause });
  }
}

async function print(
  parsed: ParsedArgs,
  io: CommandIo,
  json: string,
  lines: readonly string[],
): Promise<void> {
  if (parsed.flags.has("--json")) await io.out(`${json}\n`);
  else if (lines.length === 0) io.err("nothing found in the range\n");
  else await io.out(lines.map((line) => `${escapeControls(line)}\n`).join(""));
}
