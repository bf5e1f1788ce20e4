/**
 * Asks row groups one question, on a worker thread. A job has many small row groups, since most of
 * the cost of asking one by one is messages between threads. Several are read at the same time.
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

/** A row group and its request. */
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
  /** State of each item, in shared memory: shows which ones a lost thread was reading. */
  progress: Uint8Array;
}

/** State of a row group that was begun and is not done, in `ShardsJob.progress`. */
export const begun = 1;
const done = 2;

/** Outcomes in the order of the items; errors as data. */
export interface ShardsAnswer {
  outcomes: (Answered<AnswerOf<QuestionName>> | { error: ErrorData })[];
}

/** Row groups that are read at the same time. */
const readsMax = 8;

/** Opens a block, runs `use` on it, and names the block in errors. */
export type WithRowGroups = <T>(
  place: BlockJobBase,
  withFooter: boolean,
  use: (block: OpenBlock) => Promise<T>,
) => Promise<T>;

/**
 * Runs a job. A row group that fails has an error as its outcome. Throws instead if it is the only
 * one, or if the thread must end (`isPanic`).
 */
export async function runShardsJob<K extends QuestionName>(
  { kind, items, progress }: ShardsJob<K>,
  withRowGroups: WithRowGroups,
  arena: Arena,
): Promise<ShardsAnswer> {
  const outcomes: ShardsAnswer["outcomes"] = [];
  const { isIndexFirst, overRowGroup } = questionOf(kind);
  const queue = items.entries();
  const lane = async (): Promise<void> => {
    for (const [i, { place, rowGroup, request }] of queue) {
      progress[i] = begun;
      try {
        // If the tag index decides first, often nothing else is read.
        const withFooter = isIndexFirst?.(request) !== true;
        const use = async (block: OpenBlock): Promise<Answered<AnswerOf<K>>> => {
          const reader = (): ReturnType<OpenBlock["reader"]> => block.reader();
          return await overRowGroup({ index: block.index, reader, rowGroup, arena }, request);
        };
        outcomes[i] = await withRowGroups(place, withFooter, use);
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

/** Returns whether a WASM trap caused the error. WASM memory is then in an unknown state. */
export function isPanic(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at.name === "RuntimeError") return true;
  }
  return false;
}
