/** What a table is made of and what is asked of it: the types that its parts share. */
import type { JsonObject } from "./json.ts";

/** One column, with the field's own JSON. */
export interface Field {
  readonly name: string;
  readonly type: string;
  readonly json: JsonObject;
}

export interface MetaData {
  readonly fields: readonly Field[];
  /** Column name -> type; made from `fields`. */
  readonly columns: ReadonlyMap<string, string>;
  /** The action as it stands in the log, with what others put there; `schemaString` is ignored. */
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
/** A column's type in Delta Lake's words. Arrays may hold nulls, as all columns may. */
export type ColumnType = ScalarType | `array<${ScalarType}>` | `array<array<${ScalarType}>>`;

export interface ColumnDef {
  /** `[A-Za-z0-9_./:-]{1,160}`; one spelling per table, whatever the case. */
  name: string;
  type: ColumnType;
}

/** Integer columns have bigint (64 bits), doubles number (finite), all others text or boolean. */
export type StatValue = bigint | number | string | boolean;

export interface BlockStats {
  readonly rows: number;
  /** Column -> a value that none of the block is below; absent if not known. */
  readonly min: Readonly<Record<string, StatValue>>;
  /** Column -> a value that none of the block is above. */
  readonly max: Readonly<Record<string, StatValue>>;
}

/** One block of the table. */
export interface BlockFile {
  /** Key of the object below "<tenant>/". Never used again once it was in the table. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Milliseconds since the epoch. */
  readonly modifiedMs: number;
  readonly stats: BlockStats;
  /** Spoor's own facts about the block. */
  readonly tags: Readonly<Record<string, string>>;
}

/** A block that was removed; its object may be read by older snapshots for a while. */
export interface Tombstone {
  readonly path: string;
  /** When it was removed, by the remover's clock, milliseconds since the epoch. */
  readonly deletedMs: number;
  /** Undefined if a foreign writer did not say. */
  readonly sizeBytes: number | undefined;
}

/** The table as of one version. Immutable: all readers may share it. */
export interface Snapshot {
  /** -1 before the first commit. */
  readonly version: number;
  /** Path -> block. */
  readonly files: ReadonlyMap<string, BlockFile>;
  /** appId -> version that it has reached (for a log's partition: the next offset). */
  readonly transactions: ReadonlyMap<string, number>;
  /** Column -> type: a ColumnType, or the JSON of a type that a foreign writer used. */
  readonly columns: ReadonlyMap<string, string>;
  /** Path -> removed block. */
  readonly tombstones: ReadonlyMap<string, Tombstone>;
  /** Undefined before the first commit. */
  readonly metaData: MetaData | undefined;
}

/** How far a writer has come, committed together with what it wrote. */
export interface Transaction {
  appId: string;
  /** What the writer started from; undefined if the table had nothing of this appId. */
  expectedVersion: number | undefined;
  /** What it has reached: greater than `expectedVersion`. */
  version: number;
}

export interface Change {
  add?: readonly BlockFile[];
  /** Paths of blocks that must be in the table and will not be. */
  remove?: readonly string[];
  transaction?: Transaction;
  /** Further facts that are kept like transactions: appId -> value, the last commit's counts. */
  marks?: ReadonlyMap<string, number>;
  /** Columns of the added blocks; those that the table lacks are added to its schema. */
  columns?: readonly ColumnDef[];
  /** For people who read the log: "WRITE", "OPTIMIZE", "DELETE". */
  operation: string;
  /** False if the same rows are only arranged anew (compaction). */
  dataChange: boolean;
}

export interface CommitResult {
  version: number;
  /** A snapshot that has the commit. */
  snapshot: Snapshot;
}
