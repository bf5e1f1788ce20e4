/**
 * What the ingester's main thread, its partition workers and its cutter threads tell each other.
 */
import type { HeadData } from "#pkg/columns/head.ts";
import type { StoreConfig } from "#pkg/objstore/store-config.ts";
import type { BlockFile, ColumnDef } from "#pkg/table/table.ts";
import type { IngesterConfig } from "./config.ts";

export interface PartitionWorkerData {
  logDir: string;
  partition: number;
  /** Where to start reading and how far the log is durable now. */
  fromOffset: number;
  durableEnd: number;
  /** Buffer of a SharedNumber: the durable end as it moves on. */
  durable: SharedArrayBuffer;
  /** Tenant -> offset that its table has reached: records below it are stored already. */
  committed: ReadonlyMap<string, number>;
  config: IngesterConfig;
  /** This worker's share of `headBytesMax`. */
  headBytesMax: number;
}

/** A head that takes no more records, on its way to a block. */
export interface ClosedHead {
  headId: number;
  tenant: string;
  /** The tenant's records with offsets in [fromOffset, toOffset). */
  fromOffset: number;
  toOffset: number;
  spans: number;
  firstAppendedMs: number;
  lastAppendedMs: number;
  data: HeadData;
}

/** A head as a query sees it. Times as decimal text are not needed: bigint is cloneable. */
export interface HeadInfo {
  headId: number;
  toOffset: number;
  spans: number;
  minStartNano: bigint;
  maxStartNano: bigint;
  maxEndNano: bigint;
}

export interface PinAnswer {
  pinId: number;
  heads: HeadInfo[];
  /** Durable records that are in no head yet, and offsets that can not be read at all. */
  behindRecords: number;
  lostRecords: number;
}

/** What the worker holds, for metrics and the status page. */
export interface PartitionState {
  nextOffset: number;
  durableEnd: number;
  openHeads: number;
  closedHeads: number;
  headSpans: number;
  headBytes: number;
  decodedSpansTotal: number;
  decodedBytesTotal: number;
  repairedStringsTotal: number;
  undecodableRecordsTotal: number;
  lostRecords: number;
  /** Everything below may be forgotten by the log. */
  trimTo: number;
  stalled: boolean;
}

export interface CutTask {
  store: StoreConfig;
  tenant: string;
  data: HeadData;
  firstAppendedMs: number;
  lastAppendedMs: number;
  partition: { index: number; count: number };
  rowGroupSpans: number;
  tableColumns: readonly string[];
  nowMs: number;
}

export interface CutResult {
  file: BlockFile;
  columns: ColumnDef[];
  duplicateSpans: number;
  /** CPU and wall time of encoding and of storing, milliseconds. */
  encodeMs: number;
  storeMs: number;
  /** WASM memory of the cutter thread after the cut. */
  wasmBytes: number;
}
