/** Finds traces with too many spans in a head. They are kept; an operator should know of them. */
import type { HeadData } from "#pkg/columns/head.ts";

export interface LargeTraces {
  count: number;
  /** Ids of the largest, 32 hex digits. */
  examples: string[];
  /** Spans of the largest. */
  spansMax: number;
}

const examplesMax = 5;

/** Undefined if no trace has more than `limit` spans; 0 is no limit. */
export function findLargeTraces(
  { rows, perRow, traceIds }: Pick<HeadData, "rows" | "perRow" | "traceIds">,
  limit: number,
): LargeTraces | undefined {
  if (limit === 0 || rows <= limit) return undefined;
  const counts = new Uint32Array(traceIds.length / 4);
  const { trace } = perRow;
  for (let row = 0; row < rows; row++) counts[trace[row]]++;
  const large: number[] = [];
  for (let code = 0; code < counts.length; code++) if (counts[code] > limit) large.push(code);
  if (large.length === 0) return undefined;
  large.sort((a, b) => counts[b] - counts[a]);
  const examples = large.slice(0, examplesMax).map((code) => {
    const words = [...traceIds.subarray(code * 4, code * 4 + 4)];
    return words.map((word) => word.toString(16).padStart(8, "0")).join("");
  });
  return { count: large.length, examples, spansMax: counts[large[0]] };
}
