/** The facts that a block's commit and its index section both hold. They must agree. */
import { crc32 } from "node:zlib";

/** Taken from the tags of a commit or from the directory of an index section. */
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

/** Returns a checksum of partition, sizes and times, by which queries exclude a block. */
export function blockFactsCrc({ partition, rowGroups }: BlockFacts): number {
  const groups = rowGroups.map((group) =>
    [group.rows, group.traces, group.minStartNano, group.maxStartNano, group.maxEndNano]
      .concat(group.maxTraceStartNano ?? [])
      .join(),
  );
  return crc32(`${partition.index}/${partition.count};${groups.join(";")}`);
}

/** Error reason: the commit describes another block. */
export const commitMismatch = "commit_mismatch";
