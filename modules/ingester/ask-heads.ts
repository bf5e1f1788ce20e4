/** Sends a question to pinned heads; the partition that holds a head answers it. */
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type {
  AnswerOf,
  Outcome,
  Outcomes,
  QuestionName,
  ShardAsk,
} from "#pkg/questions/questions.ts";
import type { PartitionHost } from "./partition-host.ts";

/** Asks all heads concurrently. The failure of one is its outcome; never throws. */
export async function askHeads<K extends QuestionName>(
  hosts: readonly PartitionHost[],
  question: K,
  asks: readonly ShardAsk<K>[],
  signal: AbortSignal,
): Promise<Outcomes<AnswerOf<K>>> {
  const startedMs = performance.now();
  const askOne = async ({ shard, request }: ShardAsk<K>): Promise<Outcome<AnswerOf<K>>> => {
    try {
      const host = hosts.at(shard.partition.index);
      if (shard.kind !== "head" || host === undefined) {
        throw new SpoorError("Internal", `${shard.name} is not a head of this ingester`);
      }
      return { answer: await host.ask(question, { shard, request }, signal) };
    } catch (error) {
      return { error: toSpoorError(error) };
    }
  };
  const outcomes = await Promise.all(asks.map(askOne));
  return { outcomes, readBytes: 0, tookMs: performance.now() - startedMs };
}
