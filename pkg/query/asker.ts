/** Sends the requests of one search to its shards, in jobs, and counts their cost. */
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  type Answered,
  type AnswerOf,
  type QuestionName,
  questionOf,
  type RequestOf,
  type ShardRef,
} from "#pkg/questions/questions.ts";
import type { ShardState } from "./candidates.ts";
import { askJob, type JobBounds, jobsOf } from "./shard-jobs.ts";
import { failureOf } from "./trace-by-id.ts";
import { type Failure, forEachBounded, isQueryFault, type Spans, throwIfEnded } from "./view.ts";

/** A request to one shard of the search. */
export interface StateAsk<K extends QuestionName> {
  state: ShardState;
  shard: ShardRef;
  request: RequestOf<K>;
}

export interface AskerOptions extends JobBounds {
  /** Jobs and heads asked at a time. */
  concurrency: number;
}

export class Asker {
  readonly failures: Failure[] = [];
  readonly #spans: Spans;
  readonly #bounds: AskerOptions;
  readonly #signal: AbortSignal;
  #jobs = 0;
  #readBytes = 0;
  #askedMs = 0;

  constructor(spans: Spans, bounds: AskerOptions, signal: AbortSignal) {
    this.#spans = spans;
    this.#bounds = bounds;
    this.#signal = signal;
  }

  /** Bytes of blocks that were read for the search. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /** Jobs sent so far; a request to a head is a job. */
  get jobs(): number {
    return this.#jobs;
  }

  /** Sum of the durations of these jobs, milliseconds. Jobs overlap in time. */
  get askedMs(): number {
    return this.#askedMs;
  }

  /**
   * Sends one job. A shard whose request fails is marked as failed; `take` gets the other answers.
   * Throws Canceled or Timeout, and errors that the query itself caused.
   */
  async askJob<K extends QuestionName, A extends StateAsk<K>>(
    question: K,
    asks: readonly A[],
    take: (ask: A, answer: AnswerOf<K>, outcome: Answered<AnswerOf<K>>) => void,
  ): Promise<void> {
    this.#jobs++;
    try {
      const { outcomes, readBytes, tookMs } = await askJob(
        this.#spans,
        question,
        asks,
        this.#signal,
      );
      this.#readBytes += readBytes;
      this.#askedMs += tookMs;
      asks.forEach((ask, i) => {
        const outcome = outcomes[i];
        if ("error" in outcome) this.#fail(ask.state, outcome.error);
        else take(ask, outcome.answer, outcome);
      });
    } catch (error) {
      for (const { state } of asks) if (!state.isFailed) this.#fail(state, error);
    }
  }

  /**
   * Splits the requests into jobs and sends these, `concurrency` at a time; otherwise as `askJob`.
   */
  async askAll<K extends QuestionName, A extends StateAsk<K>>(
    question: K,
    asks: readonly A[],
    take: (ask: A, answer: AnswerOf<K>, outcome: Answered<AnswerOf<K>>) => void,
  ): Promise<void> {
    const jobs = jobsOf(asks, this.#bounds, questionOf(question).tracesOf !== undefined);
    await forEachBounded(jobs, this.#bounds.concurrency, async (job) => {
      await this.askJob(question, job, take);
    });
  }

  #fail(state: ShardState, error: unknown): void {
    throwIfEnded(this.#signal);
    // The query caused the error: it ends the query, not only this shard.
    if (error instanceof SpoorError && isQueryFault(error)) throw error;
    state.isFailed = true;
    state.frontier = undefined;
    this.failures.push(failureOf(error, state.shard.name));
  }
}
