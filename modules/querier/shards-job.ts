/**
 * One question to some row groups, on a worker thread: many small ones in one job, as what they
 * cost one by one is mostly the asking. Several are read at the same time.
 */
import type { ShardQuestions } from "#pkg/api/query.ts";
import type { Arena } from "#pkg/bytes/arena.ts";
import { countRowGroupTags } from "#pkg/engine/block-tags.ts";
import {
  detailsOfRowGroup,
  heldInRowGroup,
  listRowGroup,
  mayHoldMatch,
  prunedTraces,
} from "#pkg/engine/row-group.ts";
import { type ErrorData, errorToData } from "#pkg/errors/errors.ts";
import type { BlockJobBase } from "./block-place.ts";
import type { OpenBlock } from "./open-blocks.ts";

export type ShardQuestion = keyof ShardQuestions;

/** One row group, and what it is asked. */
export interface ShardsItem<K extends ShardQuestion> {
  place: BlockJobBase;
  rowGroup: number;
  request: ShardQuestions[K]["request"];
}

export interface ShardsJob<K extends ShardQuestion = ShardQuestion> {
  kind: K;
  /** The first block, for messages. */
  key: string;
  items: ShardsItem<K>[];
  /** How far each of them is, in shared memory: it tells which one a lost thread was at. */
  progress: Uint8Array;
}

/** A row group that was begun and not done, in `ShardsJob.progress`. */
export const begun = 1;
const done = 2;

/** Answers in the order of the items; errors as data. What was read is told of all together. */
export interface ShardsAnswer {
  outcomes: ({ answer: ShardQuestions[ShardQuestion]["answer"] } | { error: ErrorData })[];
  inspectedBytes: number;
}

/** Row groups that are read at the same time. */
const readsMax = 8;

/** Opens a block, uses it, and names it in errors. */
export type UseBlock = <T>(
  place: BlockJobBase,
  withFooter: boolean,
  use: (block: OpenBlock) => Promise<T>,
) => Promise<T>;

/**
 * Throws for the sake of one row group only if it is the only one, or if the thread must end
 * (`isPanic`).
 */
export async function runShardsJob(
  { kind, items, progress }: ShardsJob,
  useBlock: UseBlock,
  arena: Arena,
): Promise<ShardsAnswer> {
  const outcomes: ShardsAnswer["outcomes"] = [];
  const queue = items.entries();
  const lane = async (): Promise<void> => {
    for (const [i, item] of queue) {
      progress[i] = begun;
      try {
        const withFooter = !isIndexFirst(kind, item.request);
        const use = (block: OpenBlock): ReturnType<typeof answerOf> =>
          answerOf(block, { kind, ...item }, arena);
        const answer = await useBlock(item.place, withFooter, use);
        outcomes[i] = { answer: { ...answer, inspectedBytes: 0 } };
      } catch (error) {
        if (items.length === 1 || isPanic(error)) throw error;
        outcomes[i] = { error: errorToData(error) };
      }
      progress[i] = done;
    }
  };
  await Promise.all(Array.from({ length: Math.min(readsMax, items.length) }, lane));
  return { outcomes, inspectedBytes: 0 };
}

/** Whether WASM trapped somewhere below: its memory may be in any state. */
export function isPanic(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at.name === "RuntimeError") return true;
  }
  return false;
}

/** The tag index is asked before rows: often nothing else is read. */
function isIndexFirst(kind: ShardQuestion, request: ShardsItem<ShardQuestion>["request"]): boolean {
  return kind === "countTags" || (kind === "list" && "filter" in request && !!request.filter);
}

async function answerOf(
  block: OpenBlock,
  { kind, rowGroup, request }: { kind: ShardQuestion } & ShardsItem<ShardQuestion>,
  arena: Arena,
): Promise<ShardQuestions[ShardQuestion]["answer"]> {
  switch (kind) {
    case "list":
      return await listTraces(block, rowGroup, request as RequestOf<"list">, arena);
    case "details": {
      const details = request as RequestOf<"details">;
      return await detailsOfRowGroup(await block.reader(), rowGroup, details, arena);
    }
    case "held": {
      const { ids } = request as RequestOf<"held">;
      return await heldInRowGroup(await block.reader(), rowGroup, ids, arena);
    }
    default: {
      const tagBlock = { index: block.index, reader: () => block.reader() };
      return await countRowGroupTags(tagBlock, rowGroup, request as RequestOf<"countTags">);
    }
  }
}

type RequestOf<K extends ShardQuestion> = ShardQuestions[K]["request"];

async function listTraces(
  block: OpenBlock,
  rowGroup: number,
  request: RequestOf<"list">,
  arena: Arena,
): Promise<ShardQuestions["list"]["answer"]> {
  const { filter } = request;
  const isPossible = filter === undefined || (await mayHoldMatch(block.index, rowGroup, filter));
  if (!isPossible) return prunedTraces;
  return await listRowGroup(await block.reader(), rowGroup, request, arena);
}
