/** What a commit says of a block and the block's own index section must say as well. */
import { crc32 } from "node:zlib";

/** Of the tags of a commit, or of the directory of an index section. */
export interface BlockFacts {
  partition: { index: number; count: number };
  rowGroups: readonly {
    rows: number;
    traces: number;
    minStartNano: bigint | string;
    maxStartNano: bigint | string;
    maxEndNano: bigint | string;
    maxTraceStartNano?: bigint | string;
  }[];
}

/** Returns a checksum of partition, sizes and times: queries leave a block out by these. */
export function blockFactsCrc({ partition, rowGroups }: BlockFacts): number {
  const groups = rowGroups.map((group) =>
    [group.rows, group.traces, group.minStartNano, group.maxStartNano, group.maxEndNano]
      .concat(group.maxTraceStartNano ?? [])
      .join(),
  );
  return crc32(`${partition.index}/${partition.count};${groups.join(";")}`);
}

/** The reason of errors about a commit that describes another block. */
export const commitMismatch = "commit_mismatch";
