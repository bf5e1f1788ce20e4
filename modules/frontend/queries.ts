/** Queries from parsed parameters to answers, with what must be said when not all could be read. */
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { TenantLimits } from "#pkg/limits/limits.ts";
import type { AnswerPool } from "./answer-pool.ts";
import { type Answer, headerText, jsonAnswer } from "./answers.ts";
import type { FrontendConfig } from "./config.ts";
import { formatExplanation } from "./explain.ts";
import type { FrontendMetrics } from "./metrics.ts";
import { checkRange, withByteBudget } from "./query-limits.ts";
import { QueryQueue } from "./query-queue.ts";
import { formatSearch } from "./search-answer.ts";
import type { SearchQuery } from "./search-query.ts";
import { searchNewest, type SearchResult } from "./search.ts";
import type { TraceFormat } from "./trace-answer.ts";
import { findTrace, type TraceQuery } from "./trace-by-id.ts";
import { type Failure, joinMessages, type Spans } from "./view.ts";

export interface QueriesOptions {
  spans: Spans;
  config: FrontendConfig;
  metrics: FrontendMetrics;
  answers: AnswerPool;
  limits: TenantLimits;
}

/** Reasons of queries that were refused for what they ask. */
const limitReasons: readonly string[] = [
  "queries_max",
  "queries_queued",
  "query_memory",
  "query_bytes",
  "query_range",
];

/** Whether the error is a refusal by a limit. */
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
    this.#options = options;
    this.#queue = new QueryQueue({ runningMax, queriesMax, limits });
    const queue = this.#queue;
    metrics.inFlight(() => ({ running: queue.running, waiting: queue.waiting }));
  }

  /**
   * Runs a query when it is its turn. Throws LimitExceeded if too many wait already; counts
   * whatever a limit refuses.
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

  /** What the tenant's queries see. */
  #spansOf(tenant: string): Spans {
    const { spans, limits } = this.#options;
    const { queryBytesMax } = limits.of(tenant);
    if (queryBytesMax === 0) return spans;
    return { ...spans, stored: withByteBudget(spans.stored, queryBytesMax) };
  }

  /** Throws NotFound; Unavailable if not all could be read and the answer could not say so. */
  async traceById(query: TraceQuery, format: TraceFormat): Promise<Answer> {
    const { config, answers } = this.#options;
    const spans = this.#spansOf(query.tenant);
    const { pieces, failures } = await findTrace(spans, query, config.concurrency);
    const route = format.startsWith("v1") ? "traces_v1" : "traces_v2";
    const partial = joinMessages(failures);
    // Version 1 has no field that says "partial".
    if (partial !== "" && format.startsWith("v1")) throw incomplete(partial);
    this.#note(route, failures);
    const body = await answers.encode({ pieces, format, partial }, query.signal);
    const contentType = format.endsWith("json") ? "application/json" : "application/protobuf";
    return { status: 200, contentType, body, headers: partialHeaders(partial) };
  }

  async search(query: SearchQuery): Promise<Answer> {
    const result = await this.#searched(query);
    const { traces, stats, failures } = result;
    const partial = joinMessages(failures);
    // An empty list would look as if there were no traces.
    if (result.isStoredMissing && traces.length === 0) throw incomplete(partial);
    this.#note("search", failures);
    return { ...jsonAnswer(await formatSearch(traces, stats)), headers: partialHeaders(partial) };
  }

  /** Runs a search and tells how. */
  async explain(query: SearchQuery): Promise<Answer> {
    const startedMs = performance.now();
    const result = await this.#searched(query);
    return jsonAnswer(formatExplanation(query, result, performance.now() - startedMs));
  }

  async #searched(query: SearchQuery): Promise<SearchResult> {
    const { config, limits, metrics } = this.#options;
    checkRange(query, limits.of(query.tenant));
    const result = await searchNewest(this.#spansOf(query.tenant), query, {
      concurrency: config.concurrency,
      memoryBytesMax: config.queryMemoryBytesMax,
    });
    metrics.inspectedSpans.inc(result.stats.inspectedSpans);
    metrics.inspectedBytes.inc(result.stats.inspectedBytes);
    return result;
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

function incomplete(message: string): SpoorError {
  return new SpoorError("Unavailable", `not everything could be read: ${message}`, {
    reason: "partial",
  });
}

function partialHeaders(partial: string): Record<string, string> {
  return partial === "" ? {} : { [partialHeader]: headerText(partial) };
}
