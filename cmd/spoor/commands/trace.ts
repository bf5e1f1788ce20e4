/** `spoor trace ID`: gets a trace from a running Spoor (or Tempo) and prints it as a tree. */
import { wireBytes, WireReader, wireVarint } from "#pkg/bytes/bytes.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { decodeTraceData, formatTraceJson, type TraceData } from "#pkg/otlp/otlp.ts";
import {
  type CommandHelp,
  flagText,
  parseArgs,
  type ParsedArgs,
  usageError,
} from "#cmd/spoor/flags.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { paintOf } from "#cmd/spoor/paint.ts";
import { apiFlags, type ApiTarget, getFromApi, apiTargetOf } from "./query-api.ts";
import { escapeControls } from "./escape.ts";
import { traceLines, type TreeView } from "./trace-text.ts";
import { parseTraceIdText } from "./trace-id.ts";
import { buildTraceTree } from "./trace-tree.ts";

const answerBytesMax = 512 * 1024 * 1024;
const linesPerWrite = 1000;

export const traceHelp: CommandHelp = {
  usage: "spoor trace ID [flags]",
  about: "Shows a trace as a tree. ID is up to 32 hex digits; leading zeros may be omitted.",
  flags: [
    { name: "--verbose", short: "-v", help: "also print attributes, events and links of spans" },
    { name: "--errors", help: "print only failed spans and their ancestors" },
    { name: "--depth", value: "N", help: "print spans down to this depth; 1 is the top" },
    { name: "--json", help: "print the trace as OTLP/JSON" },
    ...apiFlags,
  ],
};

export async function traceCommand(args: string[], io: CommandIo): Promise<number> {
  const parsed = parseArgs(args, traceHelp.flags);
  const [id, extra] = parsed.positionals;
  if (id === undefined) throw usageError("trace: the id is missing: spoor trace ID");
  if (extra !== undefined) throw usageError(`unexpected argument ${JSON.stringify(extra)}`);
  const traceId = Buffer.from(parseTraceIdText(id)).toString("hex");
  const target = apiTargetOf(parsed);
  const view = treeView(parsed, traceId, io);
  const answer = await fetchTrace(target, traceId);
  if (answer.isPartial) {
    const why = answer.message === "" ? "" : `: ${escapeControls(answer.message)}`;
    io.err(`spoor: warning: the trace may not be complete${why}\n`);
  }
  if (answer.trace.resourceSpans.length === 0) throw notFound(target.endpoint, traceId);
  if (parsed.flags.has("--json")) await printJson(answer.trace, io);
  else await printTree(answer.trace, view, io);
  return 0;
}

async function printJson(trace: TraceData, io: CommandIo): Promise<void> {
  await io.out(`${formatTraceJson(trace, { dialect: "otlp", key: "resourceSpans" })}\n`);
}

function treeView(parsed: ParsedArgs, traceId: string, io: CommandIo): TreeView {
  const depth = flagText(parsed, "--depth");
  if (depth !== undefined && !/^[1-9]\d{0,8}$/.test(depth)) {
    throw usageError(`--depth ${JSON.stringify(depth)} is not a number from 1 on`);
  }
  return {
    traceId,
    isVerbose: parsed.flags.has("--verbose"),
    onlyErrors: parsed.flags.has("--errors"),
    depthMax: depth === undefined ? Number.POSITIVE_INFINITY : Number(depth),
    paint: paintOf(io),
  };
}

async function printTree(trace: TraceData, view: TreeView, io: CommandIo): Promise<void> {
  let lines: string[] = [];
  for (const line of traceLines(buildTraceTree(trace), view)) {
    if (lines.push(line) < linesPerWrite) continue;
    await io.out(`${lines.join("\n")}\n`);
    lines = [];
  }
  if (lines.length > 0) await io.out(`${lines.join("\n")}\n`);
}

/** TraceByIDResponse of tempopb. */
interface TraceAnswer {
  trace: TraceData;
  isPartial: boolean;
  message: string;
}

async function fetchTrace(target: ApiTarget, traceId: string): Promise<TraceAnswer> {
  const url = new URL(`api/v2/traces/${traceId}`, target.endpoint);
  const answer = await getFromApi(target, url, {
    accept: "application/protobuf",
    acceptPattern: /^application\/(x-)?protobuf\b/,
    bytesMax: answerBytesMax,
  });
  if (answer === undefined) throw notFound(target.endpoint, traceId);
  return decodeAnswer(answer.body);
}

/** Decodes TraceByIDResponse: trace = 1, metrics = 2, status = 3, message = 4. */
export function decodeAnswer(bytes: Uint8Array): TraceAnswer {
  const answer: TraceAnswer = { trace: { resourceSpans: [] }, isPartial: false, message: "" };
  const reader = new WireReader(bytes);
  while (reader.pos < reader.end) {
    const tag = reader.tag();
    if (tag === ((1 << 3) | wireBytes) || tag === ((4 << 3) | wireBytes)) {
      const end = reader.lengthEnd();
      const content = bytes.subarray(reader.pos, end);
      // A repeated field merges, so a trace may come in pieces.
      if (tag >>> 3 === 1) {
        const { resourceSpans } = decodeTraceData(content);
        answer.trace.resourceSpans = answer.trace.resourceSpans.concat(resourceSpans);
      } else answer.message = new TextDecoder().decode(content);
      reader.pos = end;
    } else if (tag === ((3 << 3) | wireVarint)) answer.isPartial = reader.varint32() === 1;
    else reader.skip(tag);
  }
  return answer;
}

function notFound(endpoint: URL, traceId: string): SpoorError {
  return new SpoorError("NotFound", `trace ${traceId} was not found at ${endpoint.href}`);
}
