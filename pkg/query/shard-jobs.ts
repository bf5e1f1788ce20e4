/**
 * Groups requests to shards into jobs. A head is a job of its own. Row groups are joined into jobs
 * of about equal bytes: the cost of many small row groups is mostly per request. A large row group
 * is a job of its own.
 */
import type {
  AnswerOf,
  Outcomes,
  QuestionName,
  ShardAsk,
  ShardRef,
} from "#pkg/questions/questions.ts";
import type { Spans } from "./view.ts";

export interface JobBounds {
  /** Bytes of row groups in one job; a larger row group is a job of its own. */
  jobBytesMax: number;
  /** Row groups in one job. */
  jobRowGroupsMax: number;
}

/** Jobs per question at least, given enough shards: so that all threads have work. */
const jobsMin = 4;

/** Share of a row group that a look-up of some traces reads: one part in so many. */
const lookUpDivisor = 8;

/**
 * Splits the requests into jobs and keeps their order.
 *
 * @param isLookUp The requests name some traces, so only a part of each row group is read.
 */
export function jobsOf<T extends { shard: ShardRef }>(
  asks: readonly T[],
  { jobBytesMax, jobRowGroupsMax }: JobBounds,
  isLookUp: boolean = false,
): T[][] {
  const allBytes = asks.reduce((sum, { shard }) => sum + shard.sizeBytes, 0);
  const bytesMax = Math.min(jobBytesMax * (isLookUp ? lookUpDivisor : 1), allBytes / jobsMin);
  const jobs: T[][] = [];
  let open: T[] = [];
  let openBytes = 0;
  for (const ask of asks) {
    const { shard } = ask;
    if (isLive(shard)) {
      jobs.push([ask]);
      continue;
    }
    const fits = open.length < jobRowGroupsMax && openBytes + shard.sizeBytes <= bytesMax;
    if (open.length === 0 || !fits) {
      open = [];
      openBytes = 0;
      jobs.push(open);
    }
    open.push(ask);
    openBytes += shard.sizeBytes;
  }
  return jobs;
}

/** Heads are in memory, and each belongs to one thread. */
function isLive({ kind }: ShardRef): boolean {
  return kind === "head";
}

/** Sends one job of `jobsOf`. Throws Canceled or Timeout, and errors of the query's limits. */
export async function askJob<K extends QuestionName>(
  { live, stored }: Spans,
  question: K,
  asks: readonly ShardAsk<K>[],
  signal: AbortSignal,
): Promise<Outcomes<AnswerOf<K>>> {
  const asked = isLive(asks[0].shard) ? live : stored;
  return await asked.ask(question, asks, signal);
}
