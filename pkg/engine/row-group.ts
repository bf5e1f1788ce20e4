/**
 * Questions about the traces of one row group of a block. Only the columns that a question needs
 * are read, and none if the tag index shows that no span can match.
 */
import type {
  DetailsAnswer,
  ListTracesRequest,
  TraceDetails,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/query.ts";
import type { BlockReader } from "#pkg/block/reader.ts";
import type { TagIndex } from "#pkg/block/tag-index.ts";
import type { ColumnBatch } from "#pkg/columns/columns.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
import { estimateShare } from "./estimate.ts";
import { evaluateFilter, filterColumns } from "./filter.ts";
import { listColumns, listTraces } from "./list-traces.ts";
import { mayMatch } from "./prune.ts";
import { serviceColumnName, serviceRestColumns } from "./service.ts";
import { conjunctsOf, mayFail, namesWholeTrace, spanPart } from "./span-part.ts";
import { detailColumns, findTrace, hasTrace, traceDetails } from "./traces.ts";

/** Traces with a matching span in the range; see `listTraces`. */
export async function listRowGroup(
  reader: BlockReader,
  rowGroup: number,
  request: ListTracesRequest,
): Promise<TraceList> {
  const { filter } = request;
  if (filter !== undefined && !mayHoldMatch(reader, rowGroup, filter)) {
    return { ...nothing, isPruned: true };
  }
  const columns = new RowGroupColumns(reader, rowGroup);
  const found = await listColumnsOf(columns, request);
  return { ...found, inspectedBytes: columns.readBytes };
}

async function listColumnsOf(
  columns: RowGroupColumns,
  request: ListTracesRequest,
): Promise<TraceList> {
  const { filter } = request;
  if (filter === undefined) return listTraces(await columns.read(listColumns), request);
  const part = spanPart(filter);
  const all = [...listColumns, ...filterColumns(filter)];
  if (part === undefined || mayFail(part)) return listTraces(await columns.read(all), request);
  const hits = await hitsOf(columns, part);
  if (!hits.includes(1)) return { ...nothing, inspectedSpans: columns.rows };
  const names = namesWholeTrace(filter) ? all : listColumns;
  return listTraces(await columns.read(names), request, hits);
}

/**
 * Rows that satisfy a condition, asked in steps: the columns of what leaves few rows for few bytes
 * are read first, and when no row is left nothing more is read.
 */
async function hitsOf(columns: RowGroupColumns, condition: FieldExpr): Promise<Uint8Array> {
  let hits = new Uint8Array(columns.rows).fill(1);
  for (const step of readSteps(columns, condition)) {
    const batch = await columns.read(step.columns);
    for (const one of step.conditions) hits = new Uint8Array(evaluateFilter(batch, one, hits));
    if (!hits.includes(1)) return hits;
  }
  return hits;
}

interface ReadStep {
  conditions: FieldExpr[];
  columns: string[];
}

/** Conditions that leave more than this share of the rows do not keep the next columns unread. */
const selectiveShare = 0.2;
/** Columns of fewer bytes than this are read together: a request costs more. 64 KiB. */
const stepBytesMin = 64 * 1024;

/** What is read one after the other for a condition that cannot fail. */
export function readSteps(columns: RowGroupColumns, condition: FieldExpr): ReadStep[] {
  const conjuncts = conjunctsOf(condition).map((one) => {
    const names = filterColumns(one);
    const sizeBytes = columns.sizeOf(names);
    return { one, names, sizeBytes, share: estimateShare(columns.tags, one, columns.rows) };
  });
  const rank = ({ sizeBytes, share }: (typeof conjuncts)[number]): number =>
    (sizeBytes + 1) / Math.max(1 - share, 0.001);
  const steps: ReadStep[] = [];
  let step: ReadStep = { conditions: [], columns: [] };
  let share = 1;
  for (const conjunct of conjuncts.sort((a, b) => rank(a) - rank(b))) {
    const isWorth = columns.sizeOf([...step.columns, ...conjunct.names]) > stepBytesMin;
    if (step.conditions.length > 0 && isWorth && share < selectiveShare) {
      steps.push(step);
      step = { conditions: [], columns: [] };
    }
    step.conditions.push(conjunct.one);
    step.columns.push(...conjunct.names);
    share *= conjunct.share;
  }
  return [...steps, step];
}

/** The columns of one row group, each read once. */
export class RowGroupColumns {
  readonly rows: number;
  readonly #reader: BlockReader;
  readonly #rowGroup: number;
  readonly #sizes: ReadonlyMap<string, number>;
  readonly #asked = new Set<string>();
  readonly #startBytes: number;
  #batch: ColumnBatch;

  constructor(reader: BlockReader, rowGroup: number) {
    const { rows, columns } = reader.rowGroups[rowGroup];
    this.rows = rows;
    this.#reader = reader;
    this.#rowGroup = rowGroup;
    this.#startBytes = reader.readBytes;
    this.#batch = { rows, names: [], column: () => undefined };
    const sizes = new Map<string, number>();
    for (const { name, sizeBytes } of columns) sizes.set(name, (sizes.get(name) ?? 0) + sizeBytes);
    this.#sizes = sizes;
  }

  get tags(): TagIndex {
    return this.#reader.tags(this.#rowGroup);
  }

  /** Bytes of the store that were read so far. */
  get readBytes(): number {
    return this.#reader.readBytes - this.#startBytes;
  }

  /** Bytes that reading the named columns takes; those that are there take none. */
  sizeOf(names: readonly string[]): number {
    const wanted = new Set(names.filter((name) => !this.#asked.has(name)));
    return [...wanted].reduce((sum, name) => sum + (this.#sizes.get(name) ?? 0), 0);
  }

  /** A batch that has the named columns, and those that were read before. */
  async read(names: readonly string[]): Promise<ColumnBatch> {
    const wanted = [...new Set(names.filter((name) => !this.#asked.has(name)))];
    if (wanted.length > 0) {
      const more = await this.#reader.readRowGroup(this.#rowGroup, wanted);
      for (const name of wanted) this.#asked.add(name);
      this.#batch = joined(this.#batch, more);
    }
    return this.#batch;
  }
}

const nothing: TraceList = {
  ids: new Uint8Array(0),
  startNanos: new BigInt64Array(0),
  truncated: false,
  inspectedSpans: 0,
  inspectedBytes: 0,
};

/** From the index, which is in memory with the open block. */
function mayHoldMatch(reader: BlockReader, rowGroup: number, filter: FieldExpr): boolean {
  return mayMatch(reader.tags(rowGroup), filter, columnsOf(reader));
}

/** Details of the asked traces; see `traceDetails`. */
export async function detailsOfRowGroup(
  reader: BlockReader,
  rowGroup: number,
  request: TraceDetailsRequest,
): Promise<DetailsAnswer> {
  const columns = new RowGroupColumns(reader, rowGroup);
  const traces = await detailsOf(columns, reader, request);
  return { traces, inspectedBytes: columns.readBytes };
}

async function detailsOf(
  columns: RowGroupColumns,
  reader: BlockReader,
  request: TraceDetailsRequest,
): Promise<TraceDetails[]> {
  if (!hasTrace(await columns.read(idColumn), request.ids)) return [];
  const { filter } = request;
  const isOut = filter !== undefined && !mayMatch(columns.tags, filter, columnsOf(reader));
  const names = [...detailColumns];
  if (!reader.columnNames.includes(serviceColumnName)) names.push(...serviceRestColumns);
  if (filter === undefined || isOut) {
    const never = filter && isOut ? neverOf(filter) : filter;
    return traceDetails(await columns.read(names), { ...request, filter: never });
  }
  return traceDetails(await columns.read([...names, ...filterColumns(filter)]), request);
}

/** A condition that nothing satisfies, in the place of one that no row of this group does. */
function neverOf({ range }: FieldExpr): FieldExpr {
  return { kind: "static", static: { type: "bool", value: false }, range };
}

function columnsOf({ columnNames }: BlockReader): { columns: readonly string[] } {
  return { columns: columnNames };
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
