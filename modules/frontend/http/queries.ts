/** Runs queries from parsed parameters to responses, and reports what could not be read. */
import type { TagValue } from "#pkg/engine/engine.ts";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import type { TenantLimits } from "#pkg/limits/limits.ts";
import type { AnswerPool } from "./answer-pool.ts";
import { type Answer, headerText, jsonAnswer } from "./answers.ts";
import type { FrontendConfig } from "#modules/frontend/config.ts";
import { formatExplanation } from "./explain.ts";
import type { FrontendMetrics } from "#modules/frontend/metrics.ts";
import {
  checkRange,
  type Failure,
  findTags,
  findTrace,
  joinMessages,
  QueryQueue,
  searchNewest,
  type SearchQuery,
  type SearchResult,
  type Spans,
  type TagsOptions,
  type TagsQuery,
  type TagsResult,
  type TagsStats,
  type TraceQuery,
  traceTooLarge,
  withByteBudget,
  withStallLimit,
} from "#pkg/query/query.ts";
import { formatSearch } from "./search-answer.ts";
import type { TagAnswer } from "./tag-answer.ts";
import type { TraceFormat } from "./trace-answer.ts";

export interface QueriesOptions {
  spans: Spans;
  config: FrontendConfig;
  metrics: FrontendMetrics;
  answers: AnswerPool;
  limits: TenantLimits;
  clock: Clock;
}

/** Reasons of queries that a limit refused. */
const limitReasons: readonly string[] = [
  "queries_max",
  "queries_queued",
  "query_memory",
  "query_bytes",
  "query_range",
  traceTooLarge,
];

/** Returns whether a limit caused the error. */
export function isLimitRefusal({ reason }: SpoorError): boolean {
  return limitReasons.includes(reason);
}

const partialHeader = "X-Spoor-Partial";

export class Queries {
  readonly #options: QueriesOptions;
  readonly #queue: QueryQueue;

  constructor(options: QueriesOptions) {
    const { config, limits, metrics } = options;
    const { queriesMax, queriesRunningMax: runningMax } = config;
    const nowMs = (): number => options.clock.monotonicMs();
    const tenantRunningMax = config.tenantQueriesRunningMax;
    this.#options = options;
    this.#queue = new QueryQueue({ runningMax, tenantRunningMax, queriesMax, limits, nowMs });
    const queue = this.#queue;
    metrics.inFlight(() => ({ running: queue.running, waiting: queue.waiting }));
  }

  /**
   * Runs a query when its turn comes. Throws LimitExceeded if too many queries wait, and what `run`
   * throws. Counts refusals by limits.
   */
  async admitted<T>(
    { tenant, signal }: { tenant: string; signal: AbortSignal },
    run: () => Promise<T>,
  ): Promise<T> {
    try {
      return await this.#queue.run(tenant, signal, run);
    } catch (thrown) {
      const error = toSpoorError(thrown);
      if (isLimitRefusal(error)) this.#options.metrics.limited.inc({ reason: error.reason });
      throw thrown;
    }
  }

  /** Runs a query over the tenant's spans, within its byte budget and the stall limit. */
  async #withSpans<T>(tenant: string, run: (spans: Spans) => Promise<T>): Promise<T> {
    const { spans, limits, config, metrics } = this.#options;
    const { queryBytesMax } = limits.of(tenant);
    const { live } = spans;
    const patient = withStallLimit(spans.stored, {
      stallMs: Math.min(config.storeStallMs, config.queryTimeoutMs / 2),
      totalMs: config.queryTimeoutMs * 0.75,
      onStall: () => metrics.stalledStore.inc(),
    });
    const { stored } = patient;
    try {
      if (queryBytesMax === 0) return await run({ live, stored });
      return await run({ live, stored: withByteBudget(stored, queryBytesMax) });
    } finally {
      patient.done();
    }
  }

  /**
   * Answers a look-up by id. Throws NotFound, or Unavailable if something could not be read and
   * `format` has no way to say so.
   */
  async traceById(query: TraceQuery, format: TraceFormat): Promise<Answer> {
    const { config, answers } = this.#options;
    // Half is for the spans. The other half is for the response, which is encoded beside them.
    const bytesMax = Math.floor(config.queryMemoryBytesMax / 2);
    const { concurrency } = config;
    const { pieces, failures } = await this.#withSpans(query.tenant, (spans) =>
      findTrace(spans, query, { concurrency, bytesMax }),
    );
    const route = format.startsWith("v1") ? "traces_v1" : "traces_v2";
    const partial = joinMessages(failures);
    // Version 1 has no field that says "partial".
    if (partial !== "" && format.startsWith("v1")) throw incompleteTrace(failures, partial);
    this.#note(route, failures);
    const body = await answers.encode({ pieces, format, partial }, query.signal);
    const contentType = format.endsWith("json") ? "application/json" : "application/protobuf";
    return { status: 200, contentType, body, headers: partialHeaders(partial) };
  }

  /** Answers a search. Throws Unavailable if the table is out of reach and no trace was found. */
  async search(query: SearchQuery): Promise<Answer> {
    const result = await this.#searched(query);
    const { traces, stats, failures } = result;
    const partial = joinMessages(failures);
    // An empty list would look as if there were no traces.
    if (result.isStoredMissing && traces.length === 0) throw incomplete(partial);
    this.#note("search", failures);
    const hasSpanSets = query.isByTags !== true;
    const json = await formatSearch(traces, stats, hasSpanSets);
    return { ...jsonAnswer(json), headers: partialHeaders(partial) };
  }

  /** Runs a search and answers with a report of its work. */
  async explain(query: SearchQuery): Promise<Answer> {
    const startedMs = performance.now();
    const result = await this.#searched(query);
    return jsonAnswer(formatExplanation(query, result, performance.now() - startedMs));
  }

  async #searched(query: SearchQuery): Promise<SearchResult> {
    const { answers, config, limits, metrics } = this.#options;
    checkRange(query, limits.of(query.tenant));
    const { wholeTraces } = answers;
    const options = { ...config, memoryBytesMax: config.queryMemoryBytesMax, wholeTraces };
    const result = await this.#withSpans(query.tenant, (spans) =>
      searchNewest(spans, query, options),
    );
    metrics.inspectedSpans.inc(result.stats.inspectedSpans);
    metrics.inspectedBytes.inc(result.stats.inspectedBytes);
    return result;
  }

  /** Answers a request for tag names or values, formatted by `format`. */
  async tags(query: TagsQuery, format: TagFormat): Promise<Answer> {
    const { config, limits, metrics } = this.#options;
    checkRange(query, limits.of(query.tenant));
    const options = { ...config, memoryBytesMax: config.tagMemoryBytesMax };
    const result = await this.#withSpans(query.tenant, (spans) =>
      findTagsLeniently(spans, query, options),
    );
    const { values, stats, failures } = result;
    metrics.inspectedSpans.inc(stats.inspectedSpans);
    metrics.inspectedBytes.inc(stats.inspectedBytes);
    if (result.truncated) {
      metrics.cutTagAnswers.inc({ reason: "memory" });
      failures.push({
        reason: "tag_memory",
        message: "the rarest tags were dropped for lack of memory",
      });
    }
    const partial = joinMessages(failures);
    if (result.isStoredMissing && values.length === 0) throw incomplete(partial);
    this.#note("tags", failures);
    return { ...this.#tagAnswer(format(values, stats)), headers: partialHeaders(partial) };
  }

  /** Answers a request whose values are fixed: no span is read. */
  knownTags(format: (stats: TagsStats) => TagAnswer): Answer {
    return this.#tagAnswer(format(noStats));
  }

  #tagAnswer({ json, isCut }: TagAnswer): Answer {
    if (isCut) this.#options.metrics.cutTagAnswers.inc({ reason: "bytes" });
    return jsonAnswer(json);
  }

  #note(route: string, failures: readonly Failure[]): void {
    if (failures.length === 0) return;
    const { config, metrics } = this.#options;
    if (config.partialResults === "error") throw incomplete(joinMessages(failures));
    for (const reason of new Set(failures.map((failure) => failure.reason))) {
      metrics.partial.inc({ route, reason });
    }
  }
}

export type TagFormat = (values: readonly TagValue[], stats: TagsStats) => TagAnswer;

const noStats: TagsStats = {
  inspectedBytes: 0,
  inspectedSpans: 0,
  totalBlocks: 0,
  totalBlockBytes: 0,
  totalJobs: 0,
  completedJobs: 0,
};

/**
 * Finds tags. Drops the filter if the spans' values make it invalid, since the user may still be
 * typing it.
 */
async function findTagsLeniently(
  spans: Spans,
  query: TagsQuery,
  options: TagsOptions,
): Promise<TagsResult> {
  try {
    return await findTags(spans, query, options);
  } catch (error) {
    if (toSpoorError(error).reason !== "traceql_value") throw error;
    return await findTags(spans, { ...query, filter: undefined }, options);
  }
}

/** Returns the error for a partial trace in version 1. TooLarge, since a retry cannot help. */
function incompleteTrace(failures: readonly Failure[], message: string): SpoorError {
  const isTooLarge = failures.some(({ reason }) => reason === traceTooLarge);
  if (!isTooLarge) return incomplete(message);
  const advice = "use /api/v2/traces, which returns the part that fits";
  return new SpoorError("TooLarge", `${message}: ${advice}`, { reason: traceTooLarge });
}

function incomplete(message: string): SpoorError {
  return new SpoorError("Unavailable", `not everything could be read: ${message}`, {
    reason: "partial",
  });
}

function partialHeaders(partial: string): Record<string, string> {
  return partial === "" ? {} : { [partialHeader]: headerText(partial) };
}
