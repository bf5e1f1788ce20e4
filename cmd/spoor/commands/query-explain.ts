/** Formats the response of /api/search/explain as text. */
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

/** Formats an explanation. Throws InvalidInput if `json` is not one. */
export function formatExplained(json: string): string {
  const lines = explanationLines(parse(json));
  return lines.map(([name, text]) => `${name.padEnd(12)} ${escapeControls(text)}\n`).join("");
}

function parse(json: string): z.infer<typeof explanationSchema> {
  try {
    return explanationSchema.parse(JSON.parse(json));
  } catch (cause) {
    throw new SpoorError("InvalidInput", "the response does not explain a search", { cause });
  }
}

/** Returns which conditions apply to single spans, and which to whole traces. */
function wholeTraceLines({
  spanPart,
  traceValues,
  canFail,
}: z.infer<typeof explanationSchema>): [string, string][] {
  const names = traceValues.length === 0 ? "values of the trace" : traceValues.join(", ");
  return [
    ["spans", `filtered by ${spanPart} first`],
    canFail
      ? ["traces", `filtered by ${names}, all joined first: the condition can fail on a part`]
      : ["traces", `then filtered by ${names}, joined first if stored in several parts`],
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
    ["", `${plan.excludedShards} cannot hold the trace, ${notAsked} cannot change the result`],
    ["", `${plan.askedShards} asked, ${plan.prunedShards} of them skipped by their index`],
    ["", `${plan.jobs} jobs for trace lists and details, ${plan.askedMs} ms in total`],
    ["read", `${metrics.inspectedBytes} bytes, ${share.toFixed(2)} % of the blocks in the range`],
    ["inspected", `${metrics.inspectedSpans} spans, ${metrics.inspectedTraces} traces`],
    ["found", `${found.traces} traces in ${found.elapsedMs} ms`],
    ...found.failures.map((one): [string, string] => ["unreadable", one]),
  );
  return lines;
}
