/** Queries from parsed parameters to answers, with what must be said when not all could be read. */
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { AnswerPool } from "./answer-pool.ts";
import { type Answer, headerText, jsonAnswer } from "./answers.ts";
import type { FrontendConfig } from "./config.ts";
import { formatExplanation } from "./explain.ts";
import type { FrontendMetrics } from "./metrics.ts";
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
}

const partialHeader = "X-Spoor-Partial";

export class Queries {
  readonly #options: QueriesOptions;
  #running = 0;

  constructor(options: QueriesOptions) {
    this.#options = options;
  }

  /** Runs a query if there are not too many already, else throws LimitExceeded. */
  async admitted<T>(run: () => Promise<T>): Promise<T> {
    const { config, metrics } = this.#options;
    if (this.#running >= config.queriesMax) {
      metrics.limited.inc({ reason: "queries_max" });
      throw new SpoorError("LimitExceeded", `${config.queriesMax} queries are under way already`, {
        reason: "queries_max",
        retryAfterMs: 1000,
      });
    }
    metrics.inFlight.set(++this.#running);
    try {
      return await run();
    } finally {
      metrics.inFlight.set(--this.#running);
    }
  }

  /** Throws NotFound; Unavailable if not all could be read and the answer could not say so. */
  async traceById(query: TraceQuery, format: TraceFormat): Promise<Answer> {
    const { spans, config, answers } = this.#options;
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
    const { spans, config, metrics } = this.#options;
    try {
      const result = await searchNewest(spans, query, {
        concurrency: config.concurrency,
        memoryBytesMax: config.queryMemoryBytesMax,
      });
      metrics.inspectedSpans.inc(result.stats.inspectedSpans);
      metrics.inspectedBytes.inc(result.stats.inspectedBytes);
      return result;
    } catch (error) {
      const { reason } = toSpoorError(error);
      if (reason === "query_memory") metrics.limited.inc({ reason });
      throw error;
    }
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
