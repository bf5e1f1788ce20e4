/** `spoor trace ID`: asks a running Spoor (or Tempo) for a trace and prints it as a tree. */
import { wireBytes, WireReader, wireVarint } from "#pkg/bytes/wire.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { formatTraceJson } from "#pkg/otlp/json-encode.ts";
import type { TraceData } from "#pkg/otlp/otlp.ts";
import { isTenantName } from "#pkg/tenant/tenant.ts";
import { flagText, parseArgs, usageError, type CommandHelp } from "#cmd/spoor/flags.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { escapeControls, traceLines } from "./trace-text.ts";
import { buildTraceTree } from "./trace-tree.ts";

const defaultEndpoint = "http://127.0.0.1:3200";
/** Longer than a server lets a query run. */
const timeoutMs = 120_000;
const answerBytesMax = 512 * 1024 * 1024;
const errorBytesMax = 4096;
const linesPerWrite = 1000;

export const traceHelp: CommandHelp = {
  usage: "spoor trace ID [flags]",
  about: "Shows a trace as a tree. ID is up to 32 hex digits; leading zeros may be left out.",
  flags: [
    { name: "--json", help: "print the trace as OTLP/JSON" },
    {
      name: "--endpoint",
      value: "URL",
      help: `where the query API is (default ${defaultEndpoint})`,
    },
    { name: "--tenant", value: "NAME", help: "tenant, where multi-tenancy is on" },
  ],
};

export async function traceCommand(args: string[], io: CommandIo): Promise<number> {
  const parsed = parseArgs(args, traceHelp.flags);
  const [id, extra] = parsed.positionals;
  if (id === undefined) throw usageError("trace: the id is missing: spoor trace ID");
  if (extra !== undefined) throw usageError(`unexpected argument ${JSON.stringify(extra)}`);
  if (!/^[0-9a-f]{1,32}$/i.test(id)) {
    throw usageError(`${JSON.stringify(id)} is not a trace id: 1 to 32 hex digits`);
  }
  const traceId = id.toLowerCase().padStart(32, "0");
  const endpoint = endpointOf(flagText(parsed, "--endpoint") ?? defaultEndpoint);
  const tenant = flagText(parsed, "--tenant");
  if (tenant !== undefined && !isTenantName(tenant)) {
    throw usageError(`${JSON.stringify(tenant)} is not a tenant's name`);
  }
  const answer = await fetchTrace(endpoint, traceId, tenant);
  if (answer.isPartial) {
    const why = answer.message === "" ? "" : `: ${escapeControls(answer.message)}`;
    io.err(`spoor: warning: the trace may not be complete${why}\n`);
  }
  if (answer.trace.resourceSpans.length === 0) throw notFound(endpoint, traceId);
  if (parsed.flags.has("--json")) await printJson(answer.trace, io);
  else await printTree(answer.trace, traceId, io);
  return 0;
}

async function printJson(trace: TraceData, io: CommandIo): Promise<void> {
  await io.out(`${formatTraceJson(trace, { dialect: "otlp", key: "resourceSpans" })}\n`);
}

async function printTree(trace: TraceData, traceId: string, io: CommandIo): Promise<void> {
  let lines: string[] = [];
  for (const line of traceLines(buildTraceTree(trace), traceId)) {
    if (lines.push(line) < linesPerWrite) continue;
    await io.out(`${lines.join("\n")}\n`);
    lines = [];
  }
  if (lines.length > 0) await io.out(`${lines.join("\n")}\n`);
}

function endpointOf(text: string): URL {
  const url = URL.parse(text.endsWith("/") ? text : `${text}/`);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw usageError(`--endpoint ${JSON.stringify(text)} is not like ${defaultEndpoint}`);
  }
  return url;
}

/** TraceByIDResponse of tempopb. */
interface TraceAnswer {
  trace: TraceData;
  isPartial: boolean;
  message: string;
}

async function fetchTrace(
  endpoint: URL,
  traceId: string,
  tenant: string | undefined,
): Promise<TraceAnswer> {
  const url = new URL(`api/v2/traces/${traceId}`, endpoint);
  const headers: Record<string, string> = { Accept: "application/protobuf" };
  if (tenant !== undefined) headers["X-Scope-OrgID"] = tenant;
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(url, { headers, redirect: "error", signal });
    if (response.status === 404) throw notFound(endpoint, traceId);
    if (response.status !== 200) throw await refused(url, response);
    const contentType = response.headers.get("content-type") ?? "";
    if (!/^application\/(x-)?protobuf\b/.test(contentType)) {
      await response.body?.cancel();
      throw new SpoorError(
        "InvalidInput",
        `get ${url.href}: answered ${escapeControls(contentType)} instead of protobuf: ` +
          "is this the query API of Spoor or Tempo?",
      );
    }
    return decodeAnswer(await readBody(response, answerBytesMax));
  } catch (error) {
    if (error instanceof SpoorError) throw error;
    throw unreachable(url, error);
  }
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
      // A message that is sent in pieces is merged.
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

/** The body up to `bytesMax`. TooLarge beyond. */
async function readBody(response: Response, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  if (response.body !== null) {
    for await (const chunk of response.body) {
      sizeBytes += chunk.length;
      if (sizeBytes > bytesMax) {
        throw new SpoorError("TooLarge", `the answer is larger than ${String(bytesMax)} bytes`);
      }
      chunks.push(chunk);
    }
  }
  return Buffer.concat(chunks, sizeBytes);
}

function notFound(endpoint: URL, traceId: string): SpoorError {
  return new SpoorError("NotFound", `trace ${traceId} was not found at ${endpoint.href}`);
}

async function refused(url: URL, response: Response): Promise<SpoorError> {
  let text = "";
  try {
    text = Buffer.from(await readBody(response, errorBytesMax)).toString("utf8");
  } catch {
    // The status says enough when the text is cut off or too long.
  }
  const hint = response.status === 401 ? " (--tenant names the tenant)" : "";
  const why = text === "" ? "" : `: ${escapeControls(text.trim().slice(0, 500))}`;
  return new SpoorError(
    response.status >= 500 ? "Unavailable" : "InvalidInput",
    `get ${url.href}: answered ${String(response.status)}${why}${hint}`,
  );
}

/** `fetch` says only "fetch failed"; the reason is in its cause. */
function unreachable(url: URL, error: unknown): SpoorError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const text = cause instanceof Error && cause.message !== "" ? cause.message : code;
  const hint = code === "ECONNREFUSED" ? " (is `spoor serve` running there?)" : "";
  return new SpoorError("Unavailable", `get ${url.href}: ${text || String(error)}${hint}`, {
    cause: error,
  });
}
