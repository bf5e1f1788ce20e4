/**
 * One question to some row groups, on a worker thread: many small ones in one job, as what they
 * cost one by one is mostly the asking. Several are read at the same time.
 */
import type { Arena } from "#pkg/bytes/bytes.ts";
import { type ErrorData, errorToData } from "#pkg/errors/errors.ts";
import {
  type Answered,
  type AnswerOf,
  type QuestionName,
  questionOf,
  type RequestOf,
} from "#pkg/questions/questions.ts";
import type { BlockJobBase } from "./block-place.ts";
import type { OpenBlock } from "./open-blocks.ts";

/** One row group, and what it is asked. */
export interface ShardsItem<K extends QuestionName> {
  place: BlockJobBase;
  rowGroup: number;
  request: RequestOf<K>;
}

export interface ShardsJob<K extends QuestionName = QuestionName> {
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

/** Answers in the order of the items; errors as data. */
export interface ShardsAnswer {
  outcomes: (Answered<AnswerOf<QuestionName>> | { error: ErrorData })[];
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
export async function runShardsJob<K extends QuestionName>(
  { kind, items, progress }: ShardsJob<K>,
  useBlock: UseBlock,
  arena: Arena,
): Promise<ShardsAnswer> {
  const outcomes: ShardsAnswer["outcomes"] = [];
  const { isIndexFirst, overRowGroup } = questionOf(kind);
  const queue = items.entries();
  const lane = async (): Promise<void> => {
    for (const [i, { place, rowGroup, request }] of queue) {
      progress[i] = begun;
      try {
        // The tag index is asked before rows: often nothing else is read.
        const withFooter = isIndexFirst?.(request) !== true;
        const use = async (block: OpenBlock): Promise<Answered<AnswerOf<K>>> => {
          const reader = (): ReturnType<OpenBlock["reader"]> => block.reader();
          return await overRowGroup({ index: block.index, reader, rowGroup, arena }, request);
        };
        outcomes[i] = await useBlock(place, withFooter, use);
      } catch (error) {
        if (items.length === 1 || isPanic(error)) throw error;
        outcomes[i] = { error: errorToData(error) };
      }
      progress[i] = done;
    }
  };
  await Promise.all(Array.from({ length: Math.min(readsMax, items.length) }, lane));
  return { outcomes };
}

/** Whether WASM trapped somewhere below: its memory may be in any state. */
export function isPanic(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at.name === "RuntimeError") return true;
  }
  return false;
}
