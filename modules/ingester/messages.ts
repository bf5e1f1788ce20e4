/**
 * What the ingester's main thread, its partition workers and its cutter threads tell each other.
 */
import type { HeadData } from "#pkg/columns/head.ts";
import type { Limits } from "#pkg/limits/limits.ts";
import type { CutCounts } from "#pkg/otlp/attribute-cut.ts";
import type { AttributeLimits } from "#pkg/otlp/attribute-scan.ts";
import type { StoreConfig } from "#pkg/objstore/store-config.ts";
import type { LogConfig } from "#pkg/spanlog/log-config.ts";
import type { BlockFile, ColumnDef } from "#pkg/table/table.ts";
import type { IngesterConfig } from "./config.ts";

export interface PartitionWorkerData {
  logConfig: LogConfig;
  partition: number;
  /** Where to start reading and how far the log is durable now. */
  fromOffset: number;
  durableEnd: number;
  /** Buffer of a SharedNumber: the durable end as it moves on. */
  durable: SharedArrayBuffer;
  /** Tenant -> offset that its table has reached: records below it are stored already. */
  committed: ReadonlyMap<string, number>;
  /** Tenants whose table cannot be read: their records are left in the log. */
  blocked: ReadonlySet<string>;
  config: IngesterConfig;
  limits: RecordLimits;
  /** This worker's share of `headBytesMax`. */
  headBytesMax: number;
}

/** What is cut from the spans of a tenant, and what is reported of its traces. */
export type TenantRecordLimits = AttributeLimits & Pick<Limits, "traceSpansMax">;

/** The same of all tenants, as it is sent to a worker. */
export interface RecordLimits {
  defaults: TenantRecordLimits;
  tenants: ReadonlyMap<string, TenantRecordLimits>;
}

/** Attributes of a tenant were cut when records were decoded. */
export interface CutNotice {
  tenant: string;
  counts: CutCounts;
  /** Trace ids of some of the spans. */
  examples: string[];
}

/** A head that was closed has traces with more spans than they should have. */
export interface LargeTracesNotice {
  tenant: string;
  count: number;
  /** Ids of the largest. */
  examples: string[];
  spansMax: number;
}

/** A tenant's records of one partition with offsets in [fromOffset, toOffset). */
export interface LogRange {
  tenant: string;
  fromOffset: number;
  toOffset: number;
}

/** A head that takes no more records, on its way to a block. */
export interface ClosedHead extends LogRange {
  headId: number;
  spans: number;
  data: HeadData;
  /** When its records were appended to the log, milliseconds since the epoch. */
  firstAppendedMs: number;
  lastAppendedMs: number;
}

/** A head as a query sees it. */
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
  /** Memory is used up or the log cannot be read: what is behind stays behind for a while. */
  stalled: boolean;
}

/** What the worker holds, for metrics and the status page. */
export interface PartitionState {
  partition: number;
  nextOffset: number;
  durableEnd: number;
  openHeads: number;
  closedHeads: number;
  headSpans: number;
  /** Spans in heads by tenant, the largest 1,000 tenants. */
  tenantSpans: readonly [tenant: string, spans: number][];
  /** Memory of heads, with that of stored ones that queries still hold. */
  headBytes: number;
  decodedSpansTotal: number;
  decodedBytesTotal: number;
  repairedStringsTotal: number;
  undecodableRecordsTotal: number;
  lostRecords: number;
  pins: number;
  /** Everything below may be forgotten by the log. */
  trimTo: number;
  stalled: boolean;
}

export interface CutTask {
  store: StoreConfig;
  range: LogRange;
  /** The head of the range; if undefined, the range is read from the log anew. */
  head: Pick<ClosedHead, "data" | "firstAppendedMs" | "lastAppendedMs"> | undefined;
  logConfig: LogConfig;
  /** What is cut from spans that are read from the log anew. */
  limits: AttributeLimits;
  partition: { index: number; count: number };
  rowGroupSpans: number;
  /** Columns of the table, with those of blocks that will be committed together with this one. */
  tableColumns: readonly string[];
  nowMs: number;
}

export interface CutResult {
  /** Undefined if the range has no spans. */
  stored: StoredCut | undefined;
  /** WASM memory of the cutter thread after the cut. */
  wasmBytes: number;
}

/** A block that is in the store, and in no commit yet. */
export interface StoredCut {
  file: BlockFile;
  columns: ColumnDef[];
  duplicateSpans: number;
  /** Wall time of encoding and of storing, milliseconds. */
  encodeMs: number;
  storeMs: number;
}
