/** Queries a known trace by id and by search, and compares the response. */
import { z } from "zod";
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import { compareWithKnown, type KnownTrace } from "#pkg/loadgen/loadgen.ts";
import { type ApiTarget, getFromApi } from "#cmd/spoor/commands/query-api.ts";
import { decodeAnswer } from "#cmd/spoor/commands/trace.ts";

export type CheckKind = "trace" | "search";

/** A failed check. `reason` is a label of a metric, `message` is for people. */
export interface CheckFailure {
  reason:
    | "not_found"
    | "missing_spans"
    | "unexpected_spans"
    | "wrong_result"
    | "partial"
    | "request_failed";
  message: string;
}

export interface Checker {
  target: ApiTarget;
  clock: Clock;
  signal: AbortSignal;
}

const answerBytesMax = 64 * 1024 * 1024;
/** Most attempts: a server may be busy, or report partial results for a while. */
const attemptsMax = 5;
const retryMs = 1000;

/** Checks a trace by its id. Returns undefined if the response has exactly its spans. */
export async function checkTrace(
  checker: Checker,
  known: KnownTrace,
): Promise<CheckFailure | undefined> {
  return await withRetries(checker, async () => {
    const { target } = checker;
    const url = new URL(`api/v2/traces/${known.traceId}`, target.endpoint);
    const answer = await getFromApi(target, url, {
      accept: "application/protobuf",
      acceptPattern: /^application\/(x-)?protobuf\b/,
      bytesMax: answerBytesMax,
    });
    if (answer === undefined) {
      return { reason: "not_found", message: `trace ${known.traceId} was not found` };
    }
    const { trace, isPartial, message } = decodeAnswer(answer.body);
    if (isPartial) return { reason: "partial", message };
    const { missing, unexpected } = compareWithKnown(known, trace);
    if (missing.length > 0) {
      const text = `${missing.length} of ${known.spanCount} spans are missing or changed`;
      return { reason: "missing_spans", message: `${text}: ${missing[0].slice(0, 1000)}` };
    }
    if (unexpected.length === 0) return undefined;
    const text = `${unexpected.length} unexpected spans`;
    return { reason: "unexpected_spans", message: `${text}: ${unexpected[0].slice(0, 1000)}` };
  });
}

const searchSchema = z.object({
  traces: z
    .array(
      z.object({
        traceID: z.string(),
        rootServiceName: z.string().default(""),
        rootTraceName: z.string().default(""),
        startTimeUnixNano: z.string().default("0"),
        durationMs: z.number().default(0),
        spanSets: z.array(z.object({ matched: z.number().default(0) })).default([]),
      }),
    )
    .default([]),
});

/** Checks a trace by search. Returns undefined if the search finds exactly it, with right facts. */
export async function checkSearch(
  checker: Checker,
  known: KnownTrace,
  query: KnownTrace["queries"][number],
): Promise<CheckFailure | undefined> {
  return await withRetries(checker, async () => {
    const { target } = checker;
    const seconds = (nano: bigint): number => Number(nano / 1_000_000_000n);
    const params = new URLSearchParams({
      q: query.traceQl,
      start: String(seconds(known.startNano) - 1),
      end: String(seconds(known.endNano) + 2),
    });
    const url = new URL(`api/search?${params.toString()}`, target.endpoint);
    const answer = await getFromApi(target, url, {
      accept: "application/json",
      acceptPattern: /^application\/json\b/,
      bytesMax: answerBytesMax,
    });
    if (answer === undefined) {
      return { reason: "request_failed", message: `there is no search at ${target.endpoint.href}` };
    }
    const partial = answer.headers.get("x-spoor-partial");
    if (partial !== null) return { reason: "partial", message: partial };
    return compareSearch(known, query, Buffer.from(answer.body).toString("utf8"));
  });
}

function compareSearch(
  known: KnownTrace,
  { traceQl, matched }: KnownTrace["queries"][number],
  text: string,
): CheckFailure | undefined {
  const parsed = searchSchema.safeParse(JSON.parse(text));
  if (!parsed.success) return { reason: "wrong_result", message: `not a search result: ${text}` };
  const found = parsed.data.traces.map((trace) => ({
    traceId: trace.traceID.padStart(32, "0"),
    rootService: trace.rootServiceName,
    rootName: trace.rootTraceName,
    startNano: trace.startTimeUnixNano,
    durationMs: trace.durationMs,
    matched: trace.spanSets.reduce((sum, set) => sum + set.matched, 0),
  }));
  const expected = {
    traceId: known.traceId,
    rootService: known.rootService,
    rootName: known.rootName,
    startNano: String(known.startNano),
    durationMs: Number((known.endNano - known.startNano) / 1_000_000n),
    matched,
  };
  const wanted = JSON.stringify(matched > 0 ? [expected] : []);
  const got = JSON.stringify(found);
  if (got === wanted) return undefined;
  const reason = found.length === 0 ? "not_found" : "wrong_result";
  return { reason, message: `${traceQl}: got ${got.slice(0, 1000)}, expected ${wanted}` };
}

/** Runs a check; retries partial results and failed requests, but not wrong results. */
async function withRetries(
  { clock, signal }: Checker,
  check: () => Promise<CheckFailure | undefined>,
): Promise<CheckFailure | undefined> {
  for (let attempt = 1; ; attempt++) {
    let failure: CheckFailure | undefined;
    try {
      failure = await check();
    } catch (thrown) {
      const error = toSpoorError(thrown);
      if (error instanceof SpoorError && error.code === "Internal") throw error;
      failure = { reason: "request_failed", message: error.message };
    }
    const isPassing = failure?.reason === "partial" || failure?.reason === "request_failed";
    if (!isPassing || attempt === attemptsMax || signal.aborted) return failure;
    await clock.sleep(retryMs);
  }
}
