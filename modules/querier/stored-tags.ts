/** Asks blocks of a snapshot about tags: one job on a worker thread for several blocks. */
import type { TagsRequest } from "#pkg/api/api.ts";
import { errorFromData } from "#pkg/errors/errors.ts";
import type { IndexedTags, StoredBlock } from "#pkg/questions/questions.ts";
import type { BlockJobBase } from "./block-place.ts";
import type { JobPool } from "./job-pool.ts";
import type { TagIndexJob } from "./tag-index-job.ts";

/** A stored block and where a job finds it. */
export interface PlacedBlock {
  block: StoredBlock;
  place: BlockJobBase;
}

/** Asks blocks about tags in one job. Throws what `JobPool.run` throws. */
export async function indexedTags(
  pool: JobPool,
  blocks: readonly PlacedBlock[],
  request: TagsRequest,
  signal: AbortSignal,
): Promise<IndexedTags> {
  const asked = blocks.flatMap(({ block, place }) => {
    const rowGroups = overlapping(block, request);
    const isAll = rowGroups.length === block.shards.length;
    if (rowGroups.length === 0) return [];
    return [{ block, place, rowGroups: isAll ? undefined : rowGroups }];
  });
  if (asked.length === 0) return nothing;
  const job: TagIndexJob = {
    kind: "tagIndex",
    key: asked[0].place.key,
    blocks: asked.map(({ place, rowGroups }) => ({ place, rowGroups })),
    request,
  };
  const { unread, failed, ...counts } = await pool.run<"tagIndex">(job, signal);
  return {
    ...counts,
    unread: unread.map(({ block, rowGroup, question }) => {
      return { shard: asked[block].block.shards[rowGroup], question };
    }),
    failed: failed.map(({ block, error }) => {
      return { path: asked[block].block.path, error: errorFromData(error) };
    }),
  };
}

const nothing: IndexedTags = {
  groups: [],
  truncated: false,
  inspectedSpans: 0,
  readBytes: 0,
  unread: [],
  failed: [],
};

function overlapping({ shards }: StoredBlock, { startNano, endNano }: TagsRequest): number[] {
  return shards.flatMap(({ minStartNano, maxEndNano }, i) =>
    minStartNano < endNano && maxEndNano >= startNano ? [i] : [],
  );
}
