/**
 * The door of pkg/parquet: footers, pages and columns of Parquet files. The Parquet library is in
 * `parquet-wasm.ts`.
 */
export { decodeChunk } from "./chunk-decode.ts";
export {
  type ColumnChunk,
  type RowGroupInfo,
  footerRowGroups,
  intField,
  parquetMagic,
  parquetTailBytes,
} from "./footer.ts";
export {
  type ByteRange,
  type Page,
  type RowRange,
  decodePages,
  pagesOfRows,
  rangesOfRows,
} from "./pages.ts";
export { sliceColumn } from "./slice-column.ts";
export { type Segment, stitch } from "./stitch.ts";
export { decodeThrift } from "./thrift.ts";
