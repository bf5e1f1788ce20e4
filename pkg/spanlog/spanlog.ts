/**
 * The span log: the write-ahead log of Spoor and the hand-over between the thread that appends and
 * the worker threads that read. A span is acknowledged when its record is durable here.
 *
 * A log has N partitions. A record belongs to one tenant and one partition and has an offset that
 * is dense in its partition (0, 1, 2, ...) and never used twice in the life of the log.
 * `file-log.ts` and `file-log-reader.ts` keep it on local files (drawings in FORMAT.md).
 */

export interface AppendOptions {
  /** Stops waiting (Canceled). The record may be durable all the same if it was being written. */
  signal?: AbortSignal;
  /**
   * 16 bytes that stand for the request as it was received (`requestKey`): a retry is recognised by
   * it, whatever was cut from the record since. Without it, by the record's bytes.
   */
  key?: Uint8Array;
}

export interface AppendResult {
  /** Where the record stands in its partition. */
  offset: number;
  /** True if an equal record of the same tenant and partition was already appended lately. */
  duplicate: boolean;
}

/** Records that should be in the log and are not readable, or a file that could not be trusted. */
export interface LogDamage {
  partition: number;
  /**
   * `lost_records`: the offsets [fromOffset, toOffset) are gone. `log_missing`: those of another
   * log, that was here before. `fenced_records`: a former owner
   * of the log wrote records after it was replaced; they are not read, and such an owner does not
   * acknowledge them. Else no record is missing.
   */
  kind:
    | "lost_records"
    | "log_missing"
    | "segment_header"
    | "trim_state"
    | "retry_memory"
    | "log_ends"
    | "fenced_records";
  fromOffset: number;
  toOffset: number;
  message: string;
}

/** Why appends were refused, by the `reason` of the error. */
export type RefusedReason = "log_full" | "log_busy" | "disk_space_low";

/** Numbers for metrics. Those named `...Total` only grow; the others are the state of now. */
export interface SpanLogStats {
  bytes: number;
  records: number;
  segments: number;
  pendingBytes: number;
  pendingRecords: number;
  retryMemoryRecords: number;
  appendedRecordsTotal: number;
  appendedBytesTotal: number;
  groupsTotal: number;
  fsyncsTotal: number;
  duplicatesTotal: number;
  retryMemoryEvictedTotal: number;
  writeFailuresTotal: number;
  truncatedTailsTotal: number;
  /** Records of former owners, written after the take-over, that are not read. */
  fencedRecordsTotal: number;
  damagesTotal: number;
  refusedTotal: Record<RefusedReason, number>;
}

/** The consumer that is always there. Its claim on the log is never given up. */
export const ingesterName = "ingester";

/** A further consumer and its bounds, as plain data. */
export interface ConsumerConfig {
  /** Lower-case letters, digits and `-`, up to 63; not that of the ingesters. */
  name: string;
  /** Over all partitions, of which each has an equal share. */
  recordsBehindMax: number;
  /** As the above; whole files count. All consumers' together are half of the log at most. */
  bytesBehindMax: number;
}

/** How far a consumer is behind. */
export interface ConsumerState {
  name: string;
  behindRecords: number;
  /** Of files that it keeps in the log. */
  behindBytes: number;
  /** Partitions that it has no claim on at present. */
  lostPartitions: readonly number[];
  /** How often it has lost one since the log was opened. */
  claimsLostTotal: number;
}

/** The appender's end. One object per log, on one thread. */
export interface LogProducer {
  /** 32 hex digits, random, made once: a wiped disk is a new log, not old offsets again. */
  readonly id: string;
  /** N, a power of two. */
  readonly partitionCount: number;
  /** What was found damaged when the log was opened, oldest first, at most 1,000 entries. */
  readonly damage: readonly LogDamage[];

  /**
   * Appends one record and resolves when it is durable. `parts` are the record's bytes in pieces;
   * they must not be changed until the promise settles (they are written without a copy).
   *
   * A record equal to one of the last 10 minutes (tenant, partition, key or bytes) is not appended
   * again, also after a restart and whatever the wall clock says: the answer is that one's offset
   * and `duplicate: true`, after it is durable.
   *
   * Errors: LimitExceeded `log_full` and `log_busy`, Unavailable `disk_space_low`,
   * `log_write_failed`, `log_owner_lost` and `log_closed` (all retryable), TooLarge, InvalidInput,
   * Canceled. After `log_write_failed` the record is not in the log, except that it may be found
   * there after a restart if the disk refused to cut it off; a retry is then recognised.
   */
  append(
    partition: number,
    tenant: string,
    parts: Uint8Array | readonly Uint8Array[],
    options?: AppendOptions,
  ): Promise<AppendResult>;

  /** The durable end: every record below this offset may be read. */
  durableEnd(partition: number): number;

  /**
   * Makes the next record's offset at least `offset`. For a log whose end was lost (restored from
   * an old copy) while a table has committed beyond it: without this, new records would get
   * offsets that the table takes for already stored. Readers see a gap.
   */
  advance(partition: number, offset: number): Promise<void>;

  /**
   * Throws Unavailable `log_owner_lost` if another process may have taken the log over. Called
   * before what was read from the log is committed.
   */
  assertOwner(): void;

  /** Looks for what former owners wrote after they were replaced, and reports it. */
  checkFormerOwners(): Promise<void>;

  stats(): SpanLogStats;
}

/**
 * One that reads the log, with a position of its own in each partition. The log forgets a record
 * when no consumer with a claim needs it any more.
 */
export interface LogConsumer {
  readonly name: string;

  /** The oldest offset that it has not given up. */
  firstOffset(partition: number): number;

  /** The durable end: every record below this offset may be read. */
  durableEnd(partition: number): number;

  /**
   * Calls `onDurable` with the new durable end after every group of records, until the returned
   * function is called. The present end is not reported: ask `durableEnd`.
   */
  subscribe(partition: number, onDurable: (endOffset: number) => void): () => void;
}

/** The ingesters' end: what they have not committed stays, and fills the log if need be. */
export interface CommittingConsumer extends LogConsumer {
  /**
   * Gives up the records below `upTo`. `committed` says up to which offset (exclusive)
   * each tenant's table has committed; it replaces what was handed over before and is durable with
   * the trim, so that a table that lost commits can be noticed after a restart.
   */
  trim(partition: number, upTo: number, committed: Record<string, number>): Promise<void>;

  /** What the last `trim` of this partition was handed, also after a restart. */
  committed(partition: number): ReadonlyMap<string, number>;
}

/**
 * Another consumer's end. One that is further behind than its bound loses its claim on the
 * partition when any consumer trims it: its records may go, and its reads and trims fail with
 * NotFound `log_claim_lost` until it joins again. A new one begins with the oldest record.
 */
export interface BoundedConsumer extends LogConsumer {
  /** Gives up the records below `upTo`; durable. NotFound `log_claim_lost`. */
  trim(partition: number, upTo: number): Promise<void>;

  /** Whether it has lost its claim, also before a restart. */
  isLost(partition: number): boolean;

  /**
   * Gets a claim again, if it has lost it: on all that is in the log, or on what comes from now on
   * if that is more than its bound. Returns the offset to read on from.
   */
  rejoin(partition: number): Promise<number>;
}

/** An open log: the producer's end, the ingesters' end, and those of other consumers. */
export interface SpanLog extends LogProducer, CommittingConsumer, AsyncDisposable {
  /** A further consumer. NotFound if the log was opened without it. */
  consumer(name: string): BoundedConsumer;

  /** All consumers, the ingesters first. */
  consumers(): ConsumerState[];

  /** Writes what is waiting, then closes. Later appends get Unavailable `log_closed`. */
  close(): Promise<void>;
}

export interface LogRecord {
  offset: number;
  tenant: string;
  /** When it was appended, milliseconds since the epoch, by the appender's clock. */
  appendedMs: number;
  /** An OTLP ExportTraceServiceRequest. Belongs to the reader: valid until its next `read`. */
  bytes: Uint8Array;
}

/** The offsets [fromOffset, toOffset) can not be read. */
export interface LogGap {
  fromOffset: number;
  toOffset: number;
  /** `trimmed`: the appender was told that they are not needed any more. `lost`: damage. */
  reason: "trimmed" | "lost";
}

export interface LogBatch {
  /** In the order of their offsets. */
  records: LogRecord[];
  /** Every offset of [from, nextOffset) that is not among the records is in one of these. */
  gaps: LogGap[];
  /** Where to read on. Equal to the `fromOffset` asked for only if that was the durable end. */
  nextOffset: number;
}

export interface LogReadOptions {
  /** About how many bytes to return. One record is returned even if it is larger. */
  bytesMax: number;
}

/** One partition's reader, on the partition's worker thread. Shares nothing with the appender. */
export interface LogReader extends Disposable {
  /**
   * Reads records from `fromOffset`, never at or past `durableTo` (a durable end that the appender
   * told). Errors: Unavailable when the log can not be read, InvalidInput for bad arguments,
   * NotFound `log_claim_lost` for a consumer that has lost its claim.
   */
  read(
    fromOffset: number,
    durableTo: number,
    options: LogReadOptions,
  ): LogBatch | Promise<LogBatch>;
  close(): void;
}
