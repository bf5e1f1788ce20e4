/** Finds traces with too many spans in a head. They are kept, and reported to the operator. */
import type { HeadData } from "#pkg/columns/columns.ts";

export interface LargeTraces {
  count: number;
  /** Ids of the largest traces, 32 hex digits. */
  examples: string[];
  /** Number of spans of the largest trace. */
  spansMax: number;
}

const examplesMax = 5;

/** Finds traces with more than `limit` spans (0: no limit). Returns undefined if there are none. */
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
