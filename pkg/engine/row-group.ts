/**
 * Questions about the traces of one row group of a block. Only the columns that a question needs
 * are read, and none if the tag index shows that no span can match.
 */
import type {
  ListTracesRequest,
  TraceDetails,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/query.ts";
import type { BlockIndex } from "#pkg/block/block-index.ts";
import type { BlockReader } from "#pkg/block/reader.ts";
import type { ColumnBatch } from "#pkg/columns/columns.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
import { filterColumns } from "./filter.ts";
import { mayMatch, pruneKeys } from "./prune.ts";
import { serviceColumnName, serviceRestColumns } from "./service.ts";
import {
  detailColumns,
  findTrace,
  hasTrace,
  listColumns,
  listTraces,
  traceDetails,
} from "./traces.ts";

/** Traces with a matching span in the range; see `listTraces`. */
export async function listRowGroup(
  reader: BlockReader,
  rowGroup: number,
  request: ListTracesRequest,
): Promise<TraceList> {
  const { filter } = request;
  if (filter !== undefined && !(await mayHoldMatch(reader.index, rowGroup, filter)))
    return noTraces;
  const before = reader.readBytes;
  const names = filter === undefined ? listColumns : [...listColumns, ...filterColumns(filter)];
  const batch = await reader.readRowGroup(rowGroup, names);
  const found = listTraces(batch, request);
  return { ...found, inspectedBytes: reader.readBytes - before };
}

export const noTraces: TraceList = {
  ids: new Uint8Array(0),
  startNanos: new BigInt64Array(0),
  truncated: false,
  inspectedSpans: 0,
  inspectedBytes: 0,
};

/**
 * Whether a row group can hold a span that matches, from those entries of its tag index that the
 * filter names. Throws what reading them throws.
 */
export async function mayHoldMatch(
  index: BlockIndex,
  rowGroup: number,
  filter: FieldExpr,
): Promise<boolean> {
  return mayMatch(await index.tags(rowGroup, pruneKeys(filter)), filter);
}

/** The filter, or a condition that nothing satisfies if the row group has no match. */
async function pruned(
  reader: BlockReader,
  rowGroup: number,
  filter: FieldExpr | undefined,
): Promise<FieldExpr | undefined> {
  if (filter === undefined || (await mayHoldMatch(reader.index, rowGroup, filter))) return filter;
  return { kind: "static", static: { type: "bool", value: false }, range: filter.range };
}

/** Details of the asked traces; see `traceDetails`. */
export async function detailsOfRowGroup(
  reader: BlockReader,
  rowGroup: number,
  request: TraceDetailsRequest,
): Promise<TraceDetails[]> {
  const ids = await reader.readRowGroup(rowGroup, idColumn);
  if (!hasTrace(ids, request.ids)) return [];
  const hasService = reader.columnNames.includes(serviceColumnName);
  const filter = await pruned(reader, rowGroup, request.filter);
  const names = [...detailColumns];
  if (!hasService) names.push(...serviceRestColumns);
  if (filter !== undefined) names.push(...filterColumns(filter));
  const rest = await reader.readRowGroup(rowGroup, without(names, idColumn));
  return traceDetails(joined(ids, rest), { ...request, filter });
}

/** All spans of a trace (16 bytes) in one row group, or in all of them if it is undefined. */
export async function findInRowGroups(
  reader: BlockReader,
  rowGroup: number | undefined,
  traceId: Uint8Array,
): Promise<Uint8Array | undefined> {
  const groups = rowGroup === undefined ? reader.rowGroups.keys() : [rowGroup];
  const parts: Uint8Array[] = [];
  for (const group of groups) {
    const ids = await reader.readRowGroup(group, idColumn);
    if (!hasTrace(ids, traceId)) continue;
    const rest = await reader.readRowGroup(group, without(reader.columnNames, idColumn));
    const found = findTrace(joined(ids, rest), traceId);
    if (found !== undefined) parts.push(new Uint8Array(found));
  }
  if (parts.length < 2) return parts[0];
  // Protobuf messages laid one after another are merged: lists are appended.
  return new Uint8Array(Buffer.concat(parts));
}

const idColumn: readonly string[] = ["trace_id"];

function without(names: readonly string[], left: readonly string[]): string[] {
  return names.filter((name) => !left.includes(name));
}

/** Two batches of the same rows as one. */
function joined(a: ColumnBatch, b: ColumnBatch): ColumnBatch {
  return {
    rows: a.rows,
    names: [...a.names, ...b.names],
    column: (name) => a.column(name) ?? b.column(name),
  };
}
