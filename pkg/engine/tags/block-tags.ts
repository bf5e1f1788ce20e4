/**
 * Answers questions about tags over blocks: from tag indexes if these list all values, otherwise,
 * or with a filter, from the columns of a row group.
 */
import type { TagCounts, TagQuestion, TagReference, TagScope, TagsRequest } from "#pkg/api/api.ts";
import type { BlockIndex, BlockReader, TagIndex, TagKey, TagKeys } from "#pkg/block/block.ts";
import { columnPrefix } from "#pkg/columns/columns.ts";
import { filterColumns } from "#pkg/engine/condition/filter.ts";
import { pruneKeys } from "#pkg/engine/condition/prune.ts";
import { mayFail } from "#pkg/engine/condition/span-part.ts";
import { matchingRows, mayHoldMatch } from "#pkg/engine/row-group/row-group.ts";
import { RowGroupColumns } from "#pkg/engine/row-group/row-group-columns.ts";
import { TagCounter } from "./tag-counter.ts";
import { indexKeyOf, questionColumns, valueTypes } from "./tag-names.ts";
import { countTags } from "./tags.ts";

/** The counts from the indexes of a block, and the questions left for row groups. */
export interface IndexedTags {
  counts: Pick<TagCounts, "groups" | "truncated">;
  unread: { rowGroup: number; question: TagQuestion }[];
}

/**
 * Answers a question without a filter from the indexes of some row groups (undefined: of the whole
 * block). Throws errors of reading an index.
 */
export async function tagsOfIndex(
  index: BlockIndex,
  rowGroups: readonly number[] | undefined,
  { question, bytesMax }: Pick<TagsRequest, "question" | "bytesMax">,
): Promise<IndexedTags> {
  const counter = new TagCounter(bytesMax);
  const groups = rowGroups ?? index.directory.rowGroups.keys().toArray();
  const open =
    rowGroups === undefined ? await answerFrom(index, undefined, question, counter) : question;
  const unread: IndexedTags["unread"] = [];
  if (open !== undefined) {
    for (const rowGroup of groups) {
      const left = await answerFrom(index, rowGroup, open, counter);
      if (left !== undefined) unread.push({ rowGroup, question: left });
    }
  }
  return { counts: counter.counts(), unread };
}

/** Adds the counts of one index to the counter; returns the question that it cannot answer. */
async function answerFrom(
  index: BlockIndex,
  rowGroup: number | undefined,
  question: TagQuestion,
  counter: TagCounter,
): Promise<TagQuestion | undefined> {
  const keys = await index.tagKeys(rowGroup);
  if (question.kind === "names") return answerNames(keys, question.scopes, counter);
  const known = question.references.filter((reference) => isKnown(keys, reference));
  const wanted = known.flatMap((reference) => indexKeyOf(reference) ?? []);
  if (wanted.length > 0) {
    for (const { type, values } of (await index.tags(rowGroup, wanted)).entries) {
      if (type === "other") continue;
      for (const [text, count] of values) counter.add(valueTypes[type], text, count);
    }
  }
  const references = question.references.filter((reference) => !known.includes(reference));
  return references.length === 0 ? undefined : { kind: "values", references };
}

function answerNames(
  keys: TagKeys | TagIndex,
  scopes: readonly TagScope[],
  counter: TagCounter,
): TagQuestion | undefined {
  if (keys.truncated) counter.noteTruncated();
  const unknown: TagScope[] = [];
  for (const scope of scopes) {
    if (!isCovered(keys, scope)) {
      unknown.push(scope);
      continue;
    }
    const prefix = `${columnPrefix(scope)}.`;
    for (const { key, rows } of keys.entries) {
      if (key.startsWith(prefix)) counter.add(scope, key.slice(prefix.length), rows);
    }
  }
  return unknown.length === 0 ? undefined : { kind: "names", scopes: unknown };
}

/** Returns whether the index lists all values with their exact counts. */
function isKnown(keys: TagKeys | TagIndex, reference: TagReference): boolean {
  const wanted = indexKeyOf(reference);
  if (wanted === undefined) return true;
  if (reference.kind === "attribute" && !isCovered(keys, reference.scope)) return false;
  const own = (keys.entries as TagKey[]).filter(({ key }) => key === wanted);
  // If the index left out keys, one type of this key may be among them.
  if (keys.truncated) return false;
  return own.every(({ type, truncated }) => type === "other" || !truncated);
}

function isCovered({ covers }: TagKeys | TagIndex, scope: TagScope): boolean {
  return (scope !== "event" && scope !== "link") || covers.includes(scope);
}

/** A block with an open index, and a function that opens its rows. */
export interface TagBlock {
  index: BlockIndex;
  reader: () => Promise<BlockReader>;
}

/**
 * Counts tags in the rows of one row group. Reads only the columns of the question and of its
 * filter, and none if the index shows that there is nothing to count. Throws errors of reading, and
 * InvalidInput (`traceql_value`) if the filter cannot be evaluated over these spans.
 */
export async function countRowGroupTags(
  block: TagBlock,
  rowGroup: number,
  request: TagsRequest,
): Promise<TagCounts> {
  const { question, filter } = request;
  if (!(await mayHaveTags(block.index, rowGroup, question))) return nothing;
  if (filter !== undefined && !(await mayHoldMatch(block.index, rowGroup, filter))) return nothing;
  const reader = await block.reader();
  const own = questionColumns(question, reader.columnNames);
  if (filter === undefined) return countTags(await reader.readRowGroup(rowGroup, own), request);
  if (mayFail(filter)) {
    const columns = [...own, ...timeColumns, ...filterColumns(filter)];
    return countTags(await reader.readRowGroup(rowGroup, columns), request);
  }
  const tags = await block.index.tags(rowGroup, pruneKeys(filter));
  const columns = new RowGroupColumns(reader, rowGroup, tags);
  const hits = await matchingRows(columns, filter);
  if (!hits.includes(1)) return { ...nothing, inspectedSpans: columns.rows };
  const isInside = columns.isInside(request);
  const batch = await columns.read(isInside ? own : [...own, ...timeColumns]);
  return countTags(batch, request, { hits, isInside });
}

const timeColumns: readonly string[] = ["trace_id", "start_unix_nano", "duration_nano"];

const nothing: TagCounts = { groups: [], truncated: false, inspectedSpans: 0 };

async function mayHaveTags(
  index: BlockIndex,
  rowGroup: number,
  question: TagQuestion,
): Promise<boolean> {
  if (question.kind === "names") return question.scopes.length > 0;
  const keys = await index.tagKeys(rowGroup);
  if (keys.truncated) return question.references.length > 0;
  const own = new Set((keys.entries as TagKey[]).map(({ key }) => key));
  return question.references.some((reference) => {
    const key = indexKeyOf(reference);
    if (key === undefined) return false;
    return own.has(key) || (reference.kind === "attribute" && !isCovered(keys, reference.scope));
  });
}
