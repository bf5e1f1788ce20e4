/**
 * Cuts a frozen head into a block: orders the spans, drops exact duplicates, chooses which
 * attributes get a column, computes the tree columns and encodes. Pure: memory in, bytes out.
 */
import {
  type Column,
  type ColumnBatch,
  columnType,
  findDuplicates,
  fixedColumns,
  HeadBatch,
  type HeadData,
  type OrderOptions,
  orderSpans,
  type SpanOrder,
  treeColumns,
} from "#pkg/columns/columns.ts";
import { type WrittenBlock, writeBlock } from "./writer.ts";

export interface CutOptions extends OrderOptions {
  partition: { index: number; count: number };
  createdBy: string;
  /** Attribute columns of the table. Only one spelling of a case-folded name may be a column. */
  tableColumns: readonly string[];
}

export interface CutBlock extends WrittenBlock {
  /** Dropped spans that equal another span of the head in every field. */
  duplicateSpans: number;
}

/** Share of the block's rows that an attribute needs for a column of its own. */
const columnShare = 0.05;
/** Most attribute columns per block. */
const columnsMax = 64;
/** Most columns per table, including the fixed ones. */
const tableColumnsMax = 2000;

/** Encodes a head as a block. The head must hold at least one span. */
export function cutHead(data: HeadData, options: CutOptions): CutBlock {
  const keep = findDuplicates(data);
  const order = orderSpans(data, options, keep);
  const all = new HeadBatch(data, order.rowIds, new Set());
  const chosen = chooseColumns(all.attributeRows(), all.rows, options.tableColumns);
  const batch = withColumns(all.withColumns(chosen), (rows) =>
    treeColumns(rows, order.traceStarts),
  );
  const written = writeBlock({
    batch,
    rowGroups: rowRanges(order),
    partition: options.partition,
    createdBy: options.createdBy,
  });
  return { ...written, duplicateSpans: data.rows - order.rowIds.length };
}

function withColumns(
  base: ColumnBatch,
  make: (base: ColumnBatch) => Map<string, Column>,
): ColumnBatch {
  const extra = make(base);
  return {
    rows: base.rows,
    names: [...base.names, ...extra.keys()],
    column: (name) => extra.get(name) ?? base.column(name),
  };
}

function rowRanges(order: SpanOrder): { fromRow: number; toRow: number; traces: number }[] {
  return order.rowGroups.map(({ firstTrace, endTrace }) => ({
    fromRow: order.traceStarts[firstTrace],
    toRow: order.traceStarts[endTrace],
    traces: endTrace - firstTrace,
  }));
}

/**
 * Chooses the attributes that get a column: the 64 most frequent of those on at least 5 % of the
 * rows. `resource.service.name` always gets one, because every response shows it. A name that
 * differs only in case from a column of the table (or from a more frequent attribute) gets none:
 * DuckDB and Spark ignore case.
 */
export function chooseColumns(
  attributeRows: ReadonlyMap<string, number>,
  rows: number,
  tableColumns: readonly string[],
): Set<string> {
  const taken = [...Object.keys(fixedColumns), ...tableColumns];
  const spelling = new Map(taken.map((name) => [name.toLowerCase(), name]));
  const always = "resource.service.name";
  const ranked = [...attributeRows]
    .filter(([name, count]) => count >= rows * columnShare || name === always)
    .sort(
      (a, b) =>
        (b[0] === always ? 1 : 0) - (a[0] === always ? 1 : 0) ||
        b[1] - a[1] ||
        (a[0] < b[0] ? -1 : 1),
    );
  const chosen = new Set<string>();
  for (const [name] of ranked) {
    const folded = name.toLowerCase();
    const known = spelling.get(folded);
    if (known === undefined ? spelling.size >= tableColumnsMax : known !== name) continue;
    if (columnType(name) === undefined) continue;
    spelling.set(folded, name);
    chosen.add(name);
    if (chosen.size === columnsMax) break;
  }
  return chosen;
}
