/** Which segment files of a partition count, by their names alone (FORMAT.md). */
import { parseSegmentName, type SegmentId } from "./format.ts";

export interface SegmentList {
  /** Those that count, by their first offsets, ascending. */
  live: SegmentId[];
  /** Those of former owners that begin at or behind the first segment of a later owner. */
  fenced: SegmentId[];
}

/** Sorts a folder's names into segments that count and those that do not. */
export function listSegments(names: readonly string[]): SegmentList {
  const all = names.map(parseSegmentName).filter((id) => id !== undefined);
  all.sort((a, b) => b.owner - a.owner || b.firstOffset - a.firstOffset);
  const list: SegmentList = { live: [], fenced: [] };
  let owner = Number.POSITIVE_INFINITY;
  /** The first offset of all later owners, and of the owners up to this one. */
  let laterFirst = Number.POSITIVE_INFINITY;
  let first = Number.POSITIVE_INFINITY;
  for (const id of all) {
    if (id.owner < owner) laterFirst = first;
    owner = id.owner;
    first = Math.min(first, id.firstOffset);
    (id.firstOffset < laterFirst ? list.live : list.fenced).push(id);
  }
  list.live.reverse();
  list.fenced.reverse();
  return list;
}
