/** Selects the valid segment files of a partition by their names alone (FORMAT.md). */
import { parseSegmentName, type SegmentId } from "./format.ts";

export interface SegmentList {
  /** Valid segments, by ascending first offset. */
  live: SegmentId[];
  /** Segments of former owners that begin at or after the first segment of a later owner. */
  fenced: SegmentId[];
}

/** Sorts the names of a folder into valid and fenced segments. */
export function listSegments(names: readonly string[]): SegmentList {
  const all = names.map(parseSegmentName).filter((id) => id !== undefined);
  all.sort((a, b) => b.owner - a.owner || b.firstOffset - a.firstOffset);
  const list: SegmentList = { live: [], fenced: [] };
  let owner = Number.POSITIVE_INFINITY;
  /** The least first offset of the segments of all later owners. */
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
