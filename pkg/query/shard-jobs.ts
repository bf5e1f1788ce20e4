/**
 * How shards are asked: a head by itself, row groups joined to jobs of about equal bytes. What many
 * small ones cost one by one is mostly the asking; a large one is a job of its own.
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
  /** Bytes of row groups that are joined; a larger one is alone. */
  jobBytesMax: number;
  /** Row groups in one job. */
  jobRowGroupsMax: number;
}

/** Jobs that a question has at the least, if it has so many shards: so that all threads work. */
const jobsMin = 4;

/** What share of a row group is read for some of its traces. */
const lookUpDivisor = 8;

/**
 * Shards in jobs, in the order given.
 *
 * @param isLookUp They are asked for some of their traces: little of each is read.
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

/** Heads are in memory, each on a thread of its own. */
function isLive({ kind }: ShardRef): boolean {
  return kind === "head";
}

/** Asks one job of `jobsOf`. Throws Canceled, and what limits of the query throw. */
export async function askJob<K extends QuestionName>(
  { live, stored }: Spans,
  question: K,
  asks: readonly ShardAsk<K>[],
  signal: AbortSignal,
): Promise<Outcomes<AnswerOf<K>>> {
  const asked = isLive(asks[0].shard) ? live : stored;
  return await asked.ask(question, asks, signal);
}
