/** The answer of /api/search/explain as text. */
import { z } from "zod";
import { SpoorError } from "#pkg/errors/errors.ts";
import { escapeControls } from "./escape.ts";
import { timeText } from "./times.ts";

const count: z.ZodNumber = z.int().nonnegative();
const countText: z.ZodString = z.string().regex(/^\d{1,20}$/);

const explanationSchema = z.object({
  query: z.string(),
  startTimeUnixNano: z.string().regex(/^-?\d{1,20}$/),
  endTimeUnixNano: z.string().regex(/^-?\d{1,20}$/),
  conditions: z.array(z.string()).default([]),
  columns: z.array(z.string()).default([]),
  wholeTraces: z.boolean().default(false),
  spanPart: z.string().default("true"),
  traceValues: z.array(z.string()).default([]),
  canFail: z.boolean().default(false),
  traceId: z.string().optional(),
  plan: z.object({
    storedBlocks: count,
    heads: count,
    rowGroups: count,
    askedShards: count,
    prunedShards: count,
    excludedShards: count,
    jobs: count,
    askedMs: z.number().nonnegative().default(0),
  }),
  metrics: z.object({
    totalBlocks: count,
    totalBlockBytes: countText,
    inspectedBytes: countText,
    inspectedSpans: countText,
    inspectedTraces: count,
  }),
  traces: count,
  failures: z.array(z.string()).default([]),
  elapsedMs: z.number().nonnegative(),
});

/** Throws InvalidInput if it is no such answer. */
export function formatExplained(json: string): string {
  const lines = explanationLines(parse(json));
  return lines.map(([name, text]) => `${name.padEnd(12)} ${escapeControls(text)}\n`).join("");
}

function parse(json: string): z.infer<typeof explanationSchema> {
  try {
    return explanationSchema.parse(JSON.parse(json));
  } catch (cause) {
    throw new SpoorError("InvalidInput", "the answer does not explain a search", { cause });
  }
}

/** What is asked where: of single spans, of a trace in one place, of one in parts. */
function wholeTraceLines({
  spanPart,
  traceValues,
  canFail,
}: z.infer<typeof explanationSchema>): [string, string][] {
  const names = traceValues.length === 0 ? "values of its trace" : traceValues.join(", ");
  return [
    ["spans", `first by ${spanPart}`],
    canFail
      ? ["traces", `by ${names}, each joined whole: a part of it could be an error`]
      : ["traces", `then by ${names}: as stored where a trace is in one place, else joined`],
  ];
}

function explanationLines(found: z.infer<typeof explanationSchema>): [string, string][] {
  const { plan, metrics } = found;
  const shards = plan.heads + plan.rowGroups;
  const notAsked = shards - plan.askedShards - plan.excludedShards;
  const read = Number(metrics.inspectedBytes);
  const share = (100 * read) / Math.max(1, Number(metrics.totalBlockBytes));
  const from = timeText(BigInt(found.startTimeUnixNano));
  const lines: [string, string][] = [
    ["query", found.query],
    ["range", `${from} to ${timeText(BigInt(found.endTimeUnixNano))}`],
    ...found.conditions.map((one, i): [string, string] => [i === 0 ? "conditions" : "", one]),
  ];
  if (found.columns.length > 0) lines.push(["columns", found.columns.join(", ")]);
  if (found.traceId !== undefined) lines.push(["trace", `only ${found.traceId}`]);
  if (found.wholeTraces) for (const line of wholeTraceLines(found)) lines.push(line);
  lines.push(
    ["blocks", `${metrics.totalBlocks} of ${plan.storedBlocks} overlap the range`],
    ["shards", `${plan.heads} heads and ${plan.rowGroups} row groups overlap it`],
    ["", `${plan.excludedShards} cannot hold the trace, ${notAsked} could not change the answer`],
    ["", `${plan.prunedShards} left out by their index, of ${plan.askedShards} asked`],
    ["", `${plan.jobs} jobs for lists of traces and for their details, ${plan.askedMs} ms in all`],
    ["read", `${metrics.inspectedBytes} bytes, ${share.toFixed(2)} % of the blocks in the range`],
    ["looked at", `${metrics.inspectedSpans} spans, ${metrics.inspectedTraces} traces`],
    ["found", `${found.traces} traces in ${found.elapsedMs} ms`],
    ...found.failures.map((one): [string, string] => ["unreadable", one]),
  );
  return lines;
}
