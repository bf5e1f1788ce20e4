/**
 * Asks row groups of a snapshot's blocks, in jobs on worker threads. If a thread ends during a job,
 * only the row groups that it was reading are affected; the others are asked again.
 */
import { errorFromData, hasCode, SpoorError } from "#pkg/errors/errors.ts";
import type { AnswerOf, Outcome, Outcomes, QuestionName } from "#pkg/questions/questions.ts";
import type { JobPool } from "./job-pool.ts";
import type { QuerierMetrics } from "./metrics.ts";
import { begun, type ShardsItem, type ShardsJob } from "./shards-job.ts";

export interface ShardsAsker {
  pool: JobPool;
  metrics: QuerierMetrics;
}

type Answers<K extends QuestionName> = Outcomes<AnswerOf<K>>;

/**
 * Asks row groups in one job. The outcomes have the order of `items`; errors are outcomes too.
 * Throws only when `signal` aborts.
 */
export async function askShards<K extends QuestionName>(
  asker: ShardsAsker,
  question: K,
  items: readonly ShardsItem<K>[],
  signal: AbortSignal,
): Promise<Answers<K>> {
  const asked = await askAll(asker.pool, question, items, signal);
  for (const outcome of asked.outcomes) {
    if (!("error" in outcome)) continue;
    asker.metrics.rowGroupFailures.inc({ kind: question, outcome: outcome.error.code });
  }
  return asked;
}

async function askAll<K extends QuestionName>(
  pool: JobPool,
  question: K,
  items: readonly ShardsItem<K>[],
  signal: AbortSignal,
): Promise<Answers<K>> {
  const found = new Map<ShardsItem<K>, Outcome<AnswerOf<K>>>();
  const startedMs = performance.now();
  let readBytes = 0;
  let left = items;
  while (left.length > 0) {
    const job = jobOf(question, left);
    try {
      const answer = await pool.run<QuestionName>(job, signal);
      readBytes += answer.readBytes;
      left.forEach((item, i) => {
        const one = answer.outcomes[i];
        const outcome = "error" in one ? { error: errorFromData(one.error) } : one;
        found.set(item, outcome as Outcome<AnswerOf<K>>);
      });
      left = [];
    } catch (thrown) {
      if (hasCode(thrown, "Canceled") || signal.aborted) throw thrown;
      const error = thrown as SpoorError;
      const lost = lostItems(left, job, error);
      for (const item of lost) {
        if (left.length === 1 || !isWorthAnother(error)) {
          found.set(item, { error: left.length === 1 ? error : about(error, question, item) });
          continue;
        }
        // In a job of its own it can fail only itself.
        const alone = await askAll(pool, question, [item], signal);
        found.set(item, alone.outcomes[0]);
        readBytes += alone.readBytes;
      }
      left = left.filter((item) => !lost.includes(item));
    }
  }
  const outcomes = items.map((item) => found.get(item)!);
  return { outcomes, readBytes, tookMs: performance.now() - startedMs };
}

function jobOf<K extends QuestionName>(kind: K, items: readonly ShardsItem<K>[]): ShardsJob {
  const progress = new Uint8Array(new SharedArrayBuffer(items.length));
  const job: ShardsJob<K> = { kind, key: items[0].place.key, items: [...items], progress };
  return job as ShardsJob;
}

const lostReasons: readonly string[] = ["panic", "worker_died", "job_timeout"];

/** Returns items that must not be retried in a shared job; all if the thread did not end. */
function lostItems<T>(items: readonly T[], { progress }: ShardsJob, error: SpoorError): T[] {
  if (!lostReasons.includes(error.reason)) return [...items];
  const lost = items.filter((_, i) => progress[i] === begun);
  return lost.length === 0 ? [...items] : lost;
}

/**
 * Returns whether to retry a row group alone: after a panic or the thread's death, but not after a
 * timeout, which would use up the query's time again.
 */
function isWorthAnother({ reason }: SpoorError): boolean {
  return reason === "panic" || reason === "worker_died";
}

/** Returns the error of one row group in a job that failed. */
function about(
  error: SpoorError,
  question: QuestionName,
  { place }: ShardsItem<QuestionName>,
): SpoorError {
  const { code, reason, retryAfterMs, message } = error;
  const text = `${question} of block ${place.key}: in one job with others: ${message}`;
  return new SpoorError(code, text, { reason, retryAfterMs, cause: error });
}
