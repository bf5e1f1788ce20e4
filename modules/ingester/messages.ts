/**
 * Messages between the ingester's main thread, its partition workers and its cutter threads.
 */
import type { HeadData } from "#pkg/columns/columns.ts";
import type { Limits } from "#pkg/limits/limits.ts";
import type { AttributeLimits, CutCounts } from "#pkg/otlp/otlp.ts";
import type { StoreConfig } from "#pkg/objstore/objstore.ts";
import type { LogConfig } from "#pkg/spanlog/spanlog.ts";
import type { BlockFile, ColumnDef } from "#pkg/table/table.ts";
import type { IngesterConfig } from "./config.ts";

export interface PartitionWorkerData {
  logConfig: LogConfig;
  partition: number;
  /** Offset of the first record to read, and the durable end of the log now. */
  fromOffset: number;
  durableEnd: number;
  /** Buffer of a SharedNumber with the current durable end. */
  durable: SharedArrayBuffer;
  /** Tenant -> offset that its table has reached; records below it are stored already. */
  committed: ReadonlyMap<string, number>;
  /** Tenants whose table cannot be read: their records stay in the log. */
  blocked: ReadonlySet<string>;
  config: IngesterConfig;
  limits: RecordLimits;
  /** This worker's share of `headBytesMax`. */
  headBytesMax: number;
}

/** The limits of a tenant that apply when records are decoded. */
export type TenantRecordLimits = AttributeLimits & Pick<Limits, "traceSpansMax">;

/** The record limits of all tenants, as sent to a worker. */
export interface RecordLimits {
  defaults: TenantRecordLimits;
  tenants: ReadonlyMap<string, TenantRecordLimits>;
}

/** Reports attributes of a tenant that were cut while records were decoded. */
export interface CutNotice {
  tenant: string;
  counts: CutCounts;
  /** Trace ids of some of the affected spans. */
  examples: string[];
}

/** Reports traces of a closed head with more spans than the limit. */
export interface LargeTracesNotice {
  tenant: string;
  count: number;
  /** Ids of the largest traces. */
  examples: string[];
  spansMax: number;
}

/** A tenant's records of one partition with offsets in [fromOffset, toOffset). */
export interface LogRange {
  tenant: string;
  fromOffset: number;
  toOffset: number;
}

/** A head that accepts no more records and waits to become a block. */
export interface ClosedHead extends LogRange {
  headId: number;
  spans: number;
  data: HeadData;
  /** Append times of its first and last record, milliseconds since the epoch. */
  firstAppendedMs: number;
  lastAppendedMs: number;
}

/** A pinned head, as reported to a query. */
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
  /** Number of durable records that are in no head yet, and of records that cannot be read. */
  behindRecords: number;
  lostRecords: number;
  /** Whether reading is paused: heads take all the memory, or the log cannot be read. */
  stalled: boolean;
}

/** The state of a partition's worker, for metrics and the status page. */
export interface PartitionState {
  partition: number;
  nextOffset: number;
  durableEnd: number;
  openHeads: number;
  closedHeads: number;
  headSpans: number;
  /** Spans in heads by tenant, the largest 1,000 tenants. */
  tenantSpans: readonly [tenant: string, spans: number][];
  /** Memory of heads, including stored ones that queries still pin, bytes. */
  headBytes: number;
  decodedSpansTotal: number;
  decodedBytesTotal: number;
  repairedStringsTotal: number;
  undecodableRecordsTotal: number;
  lostRecords: number;
  pins: number;
  /** The log may be trimmed up to this offset. */
  trimTo: number;
  stalled: boolean;
}

export interface CutTask {
  store: StoreConfig;
  range: LogRange;
  /** The head of the range; if undefined, the range is read from the log again. */
  head: Pick<ClosedHead, "data" | "firstAppendedMs" | "lastAppendedMs"> | undefined;
  logConfig: LogConfig;
  /** Limits for spans that are read from the log again. */
  limits: AttributeLimits;
  partition: { index: number; count: number };
  rowGroupSpans: number;
  /** Columns of the table, and of the blocks in the same commit. */
  tableColumns: readonly string[];
  nowMs: number;
}

export interface CutResult {
  /** Undefined if the range has no spans. */
  stored: StoredCut | undefined;
  /** WASM memory of the cutter thread after the cut. */
  wasmBytes: number;
}

/** A block that is in the store but not committed yet. */
export interface StoredCut {
  file: BlockFile;
  columns: ColumnDef[];
  duplicateSpans: number;
  /** Wall time of encoding and of storing, milliseconds. */
  encodeMs: number;
  storeMs: number;
}
