/**
 * Finds duplicate spans in a head: a client retries when it gets no response. Spans equal in every
 * field are duplicates. Spans that share an id and differ otherwise are all kept: an update is not
 * a duplicate.
 */
import type { HeadData } from "./head.ts";
import { HeadBatch } from "./head-batch.ts";
import { spanKeys } from "./spans.ts";

/** Returns 0 for each row that duplicates an earlier row, else 1; undefined without duplicates. */
export function findDuplicates(data: HeadData): Uint8Array | undefined {
  const suspects = sameIds(data);
  if (suspects.length === 0) return undefined;
  const batch = new HeadBatch(data, suspects);
  const seen = new Set<string>();
  let keep: Uint8Array | undefined;
  spanKeys(batch).forEach((key, i) => {
    if (!seen.has(key)) {
      seen.add(key);
      return;
    }
    keep ??= new Uint8Array(data.rows).fill(1);
    keep[suspects[i]] = 0;
  });
  return keep;
}

/** Returns rows whose trace and span id occur more than once, ascending. */
function sameIds(data: HeadData): Uint32Array {
  const { trace, spanId } = data.perRow;
  let size = 1024;
  while (size < data.rows * 2) size *= 2;
  const table = new Int32Array(size).fill(-1);
  const suspect = new Set<number>();
  for (let row = 0; row < data.rows; row++) {
    const high = spanId[row * 2];
    const low = spanId[row * 2 + 1];
    let hash = Math.imul(high ^ Math.imul(low, 0x9e3779b1), 0x85ebca6b) ^ trace[row];
    hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35);
    let slot = (hash ^ (hash >>> 13)) & (size - 1);
    for (; table[slot] >= 0; slot = (slot + 1) & (size - 1)) {
      const other = table[slot];
      if (
        spanId[other * 2] === high &&
        spanId[other * 2 + 1] === low &&
        trace[other] === trace[row]
      ) {
        suspect.add(other);
        suspect.add(row);
        break;
      }
    }
    if (table[slot] < 0) table[slot] = row;
  }
  return Uint32Array.from(suspect).sort();
}
