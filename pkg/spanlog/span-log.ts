/**
 * The span log: Spoor's write-ahead log, and the queue between the thread that appends and the
 * worker threads that read. A span is acknowledged when its record is durable in the log.
 *
 * A log has N partitions. A record belongs to one tenant and one partition. Its offset is dense in
 * the partition (0, 1, 2, ...) and never reused in the life of the log. `file-log.ts` and
 * `file-log-reader.ts` implement the log on local files (drawings in FORMAT.md).
 */

export interface AppendOptions {
  /** Ends the wait (Canceled). A record that is being written may become durable nevertheless. */
  signal?: AbortSignal;
  /**
   * 16 bytes that identify the request as received (`requestKey`). A retry is recognised by the
   * key, even if other parts were cut from its record; without a key, by the record's bytes.
   */
  key?: Uint8Array;
}

export interface AppendResult {
  /** Position of the record in its partition. */
  offset: number;
  /** True if the tenant and partition have an equal record from the retry window. */
  duplicate: boolean;
}

/** Records that should be in the log but are not readable, or a damaged file. */
export interface LogDamage {
  partition: number;
  /**
   * `lost_records`: the offsets [fromOffset, toOffset) are gone. `log_missing`: these offsets of an
   * earlier log in this place are gone. `fenced_records`: a former owner wrote records after the
   * take-over; they are not read, and it acknowledged none. Other kinds: no record is missing.
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

/** Reason of a refused append; the `reason` of its error. */
export type RefusedReason = "log_full" | "log_busy" | "disk_space_low";

/** Numbers for metrics. Those named `...Total` are counters, the others are gauges. */
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
  /** Records that former owners wrote after the take-over, which are not read. */
  fencedRecordsTotal: number;
  damagesTotal: number;
  refusedTotal: Record<RefusedReason, number>;
}

/** Name of the consumer that every log has. It never loses its claim. */
export const ingesterName = "ingester";

/** A further consumer and its limits, as plain data. */
export interface ConsumerConfig {
  /** Lower-case letters, digits and `-`, up to 63; not `ingesterName`. */
  name: string;
  /** Maximum lag in records over all partitions; each partition has an equal share. */
  recordsBehindMax: number;
  /** Maximum lag in bytes of whole files, likewise. All consumers' sum is at most half the log. */
  bytesBehindMax: number;
}

/** Lag of a consumer. */
export interface ConsumerState {
  name: string;
  behindRecords: number;
  /** Bytes of the files that the log keeps for it. */
  behindBytes: number;
  /** Partitions where it has lost its claim. */
  lostPartitions: readonly number[];
  /** Claims that it has lost since the log was opened. */
  claimsLostTotal: number;
}

/** The appending side. One object per log, on one thread. */
export interface LogProducer {
  /** 32 random hex digits, created with the log: after a wiped disk the new log has a new id. */
  readonly id: string;
  /** N, a power of two. */
  readonly partitionCount: number;
  /** Damage that was found while opening the log and since; at most 1,000 entries. */
  readonly damage: readonly LogDamage[];

  /**
   * Appends one record; resolves when it is durable. `parts` are the record's bytes in pieces. They
   * are written without a copy, so they must not change until the promise settles.
   *
   * A record equal to one of the last 10 minutes (tenant, partition, key or bytes) is not appended
   * again. This holds across restarts and clock steps. The result is the earlier record's offset
   * and `duplicate: true`, once that record is durable.
   *
   * Throws LimitExceeded `log_full` and `log_busy`, Unavailable `disk_space_low`,
   * `log_write_failed`, `log_owner_lost` and `log_closed` (all retryable), TooLarge, InvalidInput,
   * Canceled. After `log_write_failed` the record is not in the log. Exception: if the file could
   * not be truncated, the record may appear after a restart; a retry is then recognised.
   */
  append(
    partition: number,
    tenant: string,
    parts: Uint8Array | readonly Uint8Array[],
    options?: AppendOptions,
  ): Promise<AppendResult>;

  /** Returns the durable end: every record below this offset may be read. */
  durableEnd(partition: number): number;

  /**
   * Raises the next record's offset to at least `offset`. Needed if the log has lost its end (it
   * was restored from an old copy) and a table has committed beyond it: new records would otherwise
   * get offsets that the table considers stored. Readers see a gap.
   */
  advance(partition: number, offset: number): Promise<void>;

  /**
   * Throws Unavailable `log_owner_lost` if another process may have taken over the log. Callers
   * check this before they commit records that they read from the log.
   */
  assertOwner(): void;

  /** Finds and reports records that former owners wrote after the take-over. */
  checkFormerOwners(): Promise<void>;

  stats(): SpanLogStats;
}

/**
 * A consumer of the log, with its own position in each partition. The log removes a record when no
 * consumer with a claim needs it any more.
 */
export interface LogConsumer {
  readonly name: string;

  /** Returns the oldest offset that the consumer has not trimmed. */
  firstOffset(partition: number): number;

  /** Returns the durable end: every record below this offset may be read. */
  durableEnd(partition: number): number;

  /**
   * Calls `onDurable` with the new durable end after every group of records, until the returned
   * function is called. It is not called with the current end; see `durableEnd`.
   */
  subscribe(partition: number, onDurable: (endOffset: number) => void): () => void;
}

/** The ingesters' side. Records that they have not committed stay, even if the log gets full. */
export interface CommittingConsumer extends LogConsumer {
  /**
   * Releases the records below `upTo`. `committed` is the offset (exclusive) up to which each
   * tenant's table has committed. It replaces the earlier map and is durable with the trim, so that
   * a table that lost commits is detected after a restart.
   */
  trim(partition: number, upTo: number, committed: Record<string, number>): Promise<void>;

  /** Returns the `committed` map of the last `trim` of this partition, also after a restart. */
  committed(partition: number): ReadonlyMap<string, number>;
}

/**
 * The side of another consumer. If it lags behind more than its limit when any consumer trims the
 * partition, it loses its claim: its records may be removed, and its reads and trims throw NotFound
 * `log_claim_lost` until it rejoins. A new consumer begins with the oldest record.
 */
export interface BoundedConsumer extends LogConsumer {
  /** Releases the records below `upTo` durably. Throws NotFound `log_claim_lost`. */
  trim(partition: number, upTo: number): Promise<void>;

  /** Returns whether the consumer has lost its claim; survives restarts. */
  isLost(partition: number): boolean;

  /**
   * Restores a lost claim: on all records in the log, or only on future records if these exceed the
   * consumer's limit. Returns the offset to continue from.
   */
  rejoin(partition: number): Promise<number>;
}

/** An open log: the sides of the producer, the ingesters and the other consumers. */
export interface SpanLog extends LogProducer, CommittingConsumer, AsyncDisposable {
  /** Returns a further consumer. Throws NotFound if the log was opened without it. */
  consumer(name: string): BoundedConsumer;

  /** Returns the lag of all consumers, the ingesters first. */
  consumers(): ConsumerState[];

  /** Writes pending records, then closes. Later appends throw Unavailable `log_closed`. */
  close(): Promise<void>;
}

export interface LogRecord {
  offset: number;
  tenant: string;
  /** Time of the append by the appender's clock, milliseconds since the epoch. */
  appendedMs: number;
  /** An OTLP ExportTraceServiceRequest. Belongs to the reader: valid until its next `read`. */
  bytes: Uint8Array;
}

/** Offsets [fromOffset, toOffset) that cannot be read. */
export interface LogGap {
  fromOffset: number;
  toOffset: number;
  /** `trimmed`: all consumers with a claim have released the records. `lost`: damage. */
  reason: "trimmed" | "lost";
}

export interface LogBatch {
  /** In order of their offsets. */
  records: LogRecord[];
  /** The gaps cover every offset of [fromOffset, nextOffset) without a record. */
  gaps: LogGap[];
  /** Where to continue. Equals the given `fromOffset` only if that was the durable end. */
  nextOffset: number;
}

export interface LogReadOptions {
  /** Approximate number of bytes to return. A single record may be larger. */
  bytesMax: number;
}

/** A reader of one partition on its worker thread. Shares no state with the appender. */
export interface LogReader extends Disposable {
  /**
   * Reads records from `fromOffset`, below `durableTo` (a durable end that the appender reported).
   * Throws Unavailable if the log cannot be read, InvalidInput for bad arguments, NotFound
   * `log_claim_lost` for a consumer that has lost its claim.
   */
  read(
    fromOffset: number,
    durableTo: number,
    options: LogReadOptions,
  ): LogBatch | Promise<LogBatch>;
  close(): void;
}
