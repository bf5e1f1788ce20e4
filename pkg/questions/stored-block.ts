/** Conversion of a block of the table to shards. */
import { blockFactsCrc } from "#pkg/block/block-facts.ts";
import type { BlockTags } from "#pkg/block/block.ts";
import type { BlockRef, RowGroupRef, StoredBlock } from "./shards.ts";

/**
 * Returns a block with one shard per row group.
 *
 * @param file Path below the tenant's folder, and size in bytes.
 * @param tags The block's facts from its commit.
 */
export function storedBlock(
  tenant: string,
  { path, sizeBytes }: { path: string; sizeBytes: number },
  tags: BlockTags,
): StoredBlock {
  const { partition, indexOffset, footerOffset, bloom, rowGroups: groups } = tags;
  const factsCrc = blockFactsCrc(tags);
  const place = { tenant, path, sizeBytes, indexOffset, footerOffset };
  const ref: BlockRef = { ...place, partition, factsCrc, bloom };
  const spans = groups.reduce((sum, { rows }) => sum + rows, 0);
  const earliest = groups.reduce((a, b) => (b.minStartNano < a.minStartNano ? b : a));
  const latest = groups.reduce((a, b) => (b.maxEndNano > a.maxEndNano ? b : a));
  const shards = groups.map((group, rowGroup): RowGroupRef => {
    const { minStartNano, maxStartNano, maxEndNano, maxTraceStartNano, rows } = group;
    return {
      kind: "rowGroup",
      name: `block ${path} row group ${rowGroup}`,
      block: ref,
      rowGroup,
      partition,
      minStartNano,
      maxStartNano,
      maxEndNano,
      maxTraceStartNano,
      spans: rows,
      sizeBytes: Math.ceil(sizeBytes * (rows / Math.max(1, spans))),
      // The cut keeps a trace in one row group. Code that merges blocks must keep this or mark it.
      disjoint: path,
    };
  });
  const { minStartNano } = earliest;
  const { maxEndNano } = latest;
  return { path, sizeBytes, partition, minStartNano, maxEndNano, ref, shards };
}
