/**
 * Answers a question about tags from the tag indexes of several blocks, on a worker thread. It
 * reads a few parts of each index.
 */
import type { TagCounts, TagQuestion, TagsRequest } from "#pkg/api/api.ts";
import { type IndexedTags, TagCounter, tagsOfIndex } from "#pkg/engine/engine.ts";
import { type ErrorData, errorToData } from "#pkg/errors/errors.ts";
import type { BlockJobBase } from "./block-place.ts";
import type { OpenBlock } from "./open-blocks.ts";

export interface TagIndexJob {
  kind: "tagIndex";
  /** The first block, for messages. */
  key: string;
  blocks: { place: BlockJobBase; rowGroups: readonly number[] | undefined }[];
  request: TagsRequest;
}

export interface TagIndexAnswer extends TagCounts {
  /** `block` is an index into the job's blocks. */
  unread: { block: number; rowGroup: number; question: TagQuestion }[];
  failed: { block: number; error: ErrorData }[];
}

/** Blocks whose parts are read at the same time. */
const readsMax = 8;

/** Opens a block, runs `use` on it, and names the block in errors. */
export type WithTagIndex = <T>(
  place: BlockJobBase,
  use: (block: OpenBlock) => Promise<T>,
) => Promise<T>;

/** Runs a job. A block that fails is listed in `failed`. */
export async function runTagIndexJob(
  { blocks, request }: TagIndexJob,
  withTagIndex: WithTagIndex,
): Promise<TagIndexAnswer> {
  const counter = new TagCounter(request.bytesMax);
  const unread: TagIndexAnswer["unread"] = [];
  const failed: TagIndexAnswer["failed"] = [];
  const places = blocks.entries();
  const lane = async (): Promise<void> => {
    for (const [block, { place, rowGroups }] of places) {
      try {
        const found = await withTagIndex(
          place,
          async ({ index }): Promise<IndexedTags> => await tagsOfIndex(index, rowGroups, request),
        );
        counter.addCounts(found.counts);
        for (const one of found.unread) unread.push({ block, ...one });
      } catch (error) {
        failed.push({ block, error: errorToData(error) });
      }
    }
  };
  await Promise.all(Array.from({ length: readsMax }, lane));
  return { ...counter.counts(), inspectedSpans: 0, unread, failed };
}
