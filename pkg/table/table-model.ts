/** The types of a table's content and requests, which the files of this folder share. */
import type { JsonObject } from "./json.ts";

/** One column, with the field's own JSON. */
export interface Field {
  readonly name: string;
  readonly type: string;
  readonly json: JsonObject;
}

export interface MetaData {
  readonly fields: readonly Field[];
  /** Column name -> type; derived from `fields`. */
  readonly columns: ReadonlyMap<string, string>;
  /** The action as in the log, with fields of other engines; without `schemaString`. */
  readonly json: JsonObject;
}

type ScalarType =
  | "string"
  | "long"
  | "integer"
  | "short"
  | "byte"
  | "float"
  | "double"
  | "boolean"
  | "binary"
  | "date"
  | "timestamp";
/** A column's type in Delta Lake's notation. Columns and array elements may be null. */
export type ColumnType = ScalarType | `array<${ScalarType}>` | `array<array<${ScalarType}>>`;

export interface ColumnDef {
  /** `[A-Za-z0-9_./:-]{1,160}`; two names of a table never differ in case only. */
  name: string;
  type: ColumnType;
}

/** bigint (64 bits) for integer columns, finite number for doubles, else string or boolean. */
export type StatValue = bigint | number | string | boolean;

export interface BlockStats {
  readonly rows: number;
  /** Column -> lower bound of the block's values; absent if not known. */
  readonly min: Readonly<Record<string, StatValue>>;
  /** Column -> upper bound of the block's values; absent if not known. */
  readonly max: Readonly<Record<string, StatValue>>;
}

/** One block of the table. */
export interface BlockFile {
  /** Key of the object below "<tenant>/". Never reused once it was in the table. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Milliseconds since the epoch. */
  readonly modifiedMs: number;
  readonly stats: BlockStats;
  /** Spoor's own metadata of the block. */
  readonly tags: Readonly<Record<string, string>>;
}

/** A block that was removed; readers of older snapshots may still read its object. */
export interface Tombstone {
  readonly path: string;
  /** Time of the removal by the remover's clock, milliseconds since the epoch. */
  readonly deletedMs: number;
  /** Undefined if another engine did not write it. */
  readonly sizeBytes: number | undefined;
}

/** The table as of one version. Immutable: all readers may share it. */
export interface Snapshot {
  /** -1 before the first commit. */
  readonly version: number;
  /** Path -> block. */
  readonly files: ReadonlyMap<string, BlockFile>;
  /** appId -> version that it has reached (for a partition of a log: the next offset). */
  readonly transactions: ReadonlyMap<string, number>;
  /** Column -> type: a ColumnType, or the JSON of a type that another engine used. */
  readonly columns: ReadonlyMap<string, string>;
  /** Path -> removed block. */
  readonly tombstones: ReadonlyMap<string, Tombstone>;
  /** Undefined before the first commit. */
  readonly metaData: MetaData | undefined;
}

/** Progress of a writer, committed atomically with its blocks. */
export interface Transaction {
  appId: string;
  /** Version that the writer started from; undefined if the table had none for this appId. */
  expectedVersion: number | undefined;
  /** Version that the writer has reached; greater than `expectedVersion`. */
  version: number;
}

export interface Change {
  add?: readonly BlockFile[];
  /** Paths of blocks to remove, which must be in the table. */
  remove?: readonly string[];
  transaction?: Transaction;
  /** Further values that are stored like transactions, unchecked: appId -> value; the last wins. */
  marks?: ReadonlyMap<string, number>;
  /** Columns of the added blocks; missing ones are added to the table's schema. */
  columns?: readonly ColumnDef[];
  /** Name for human readers of the log: "WRITE", "OPTIMIZE", "DELETE". */
  operation: string;
  /** False if the change only rearranges rows (compaction). */
  dataChange: boolean;
}

export interface CommitResult {
  version: number;
  /** A snapshot that includes the commit. */
  snapshot: Snapshot;
}
