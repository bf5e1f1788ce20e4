/**
 * How shards are asked: a head by itself, row groups joined to jobs of about equal bytes. What many
 * small ones cost one by one is mostly the asking; a large one is a job of its own.
 */
import type { Outcomes, Shard, ShardAsk, ShardQuestions, StoredSpans } from "#pkg/api/query.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";

export interface JobBounds {
  /** Bytes of row groups that are joined; a larger one is alone. */
  jobBytesMax: number;
  /** Row groups in one job. */
  jobRowGroupsMax: number;
}

/** Jobs that a question has at the least, if it has so many shards: so that all threads work. */
const jobsMin = 4;

/** Shards in jobs, in the order given. */
export function jobsOf<T extends { shard: Shard }>(
  asks: readonly T[],
  { jobBytesMax, jobRowGroupsMax }: JobBounds,
): T[][] {
  const allBytes = asks.reduce((sum, { shard }) => sum + shard.sizeBytes, 0);
  const bytesMax = Math.min(jobBytesMax, allBytes / jobsMin);
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
function isLive({ sizeBytes }: Shard): boolean {
  return sizeBytes === 0;
}

/** Asks one job. Throws Canceled, and what limits of the query throw. */
export async function askJob<K extends keyof ShardQuestions>(
  stored: StoredSpans,
  question: K,
  asks: readonly ShardAsk<K>[],
  signal: AbortSignal,
): Promise<Outcomes<ShardQuestions[K]["answer"]>> {
  if (asks.length > 1 || !isLive(asks[0].shard)) {
    return await stored.askShards(question, asks, signal);
  }
  try {
    const answer = await askShard(question, asks[0], signal);
    return { outcomes: [{ answer }], inspectedBytes: answer.inspectedBytes };
  } catch (error) {
    return { outcomes: [{ error: toSpoorError(error) }], inspectedBytes: 0 };
  }
}

/** Asks one shard by itself. */
export async function askShard<K extends keyof ShardQuestions>(
  question: K,
  { shard, request }: ShardAsk<K>,
  signal: AbortSignal,
): Promise<ShardQuestions[K]["answer"]> {
  const ways: {
    [Q in keyof ShardQuestions]: (
      asked: ShardQuestions[Q]["request"],
    ) => Promise<ShardQuestions[Q]["answer"]>;
  } = {
    list: (asked) => shard.listTraces(asked, signal),
    details: (asked) => shard.traceDetails(asked, signal),
    held: (asked) => shard.heldTraces(asked, signal),
    countTags: (asked) => shard.countTags(asked, signal),
  };
  return await ways[question](request);
}
