/**
 * The door of pkg/table: the Delta Lake table of a tenant.
 */
export {
  type BlockFile,
  type Change,
  type ColumnDef,
  type ColumnType,
  type Snapshot,
  type Table,
  openTable,
} from "./delta-table.ts";
