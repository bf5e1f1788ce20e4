/**
 * The door of pkg/columns: the columnar span batch, heads, order and trees of traces.
 */
export {
  type BatchData,
  type NamedColumn,
  RowSizes,
  arraysOf,
  batchOfData,
  bytesOfData,
  gatherRows,
} from "./batch-data.ts";
export { canonicalSpans } from "./canonical.ts";
export { CodedInt64 } from "./coded-int64.ts";
export {
  type BoolColumn,
  type ByteValues,
  type Column,
  type ColumnBatch,
  type DictColumn,
  type DoubleColumn,
  type Int32Column,
  type Int64Column,
  type ListColumn,
  batchOf,
  columnOf,
  isValid,
  valueBytes,
  valueText,
  wordPairs,
} from "./column-batch.ts";
export { DictBuilder } from "./dict-builder.ts";
export { findDuplicates } from "./duplicates.ts";
export { HeadBatch } from "./head-batch.ts";
export { HeadDecoder } from "./head-decode.ts";
export { Head, type HeadData } from "./head.ts";
export { joinBatches } from "./join-batches.ts";
export { findRepeats } from "./repeats.ts";
export { parseRestValue } from "./rest-value.ts";
export {
  type ColumnType,
  type ScalarType,
  attributeColumnName,
  columnKeyPattern,
  columnPrefix,
  columnType,
  fixedColumns,
  parseAttributeColumn,
  traceColumnNames,
} from "./schema.ts";
export { readSpans, scalarValue } from "./spans.ts";
export { type OrderOptions, type SpanOrder, orderSpans } from "./trace-order.ts";
export { RootOrder, compareCodes, compareRoots } from "./trace-root.ts";
export { treeColumns } from "./trace-tree.ts";
