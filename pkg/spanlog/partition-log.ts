/**
 * The appending side of one partition: duplicates, pending records, group commit.
 * Hot: runs per record; benchmark `file-log.bench.ts`.
 *
 *     append -> duplicate? -> space? -> queue -> [ header, parts, header, parts ] -> durable -> ack
 *
 * One write and one fdatasync are in flight at a time; records that arrive meanwhile form the next
 * group.
 */
import { crc32 } from "node:zlib";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Admission } from "./admission.ts";
import { encodeRecordHeader, RECORD_HEADER_BYTES } from "./format.ts";
import { errorText, isOwnerLost, logClosed, writeFailed, type LogContext } from "./log-context.ts";
import { hashRecord, type RetryMemory } from "./retry-memory.ts";
import type { SegmentWriter } from "./segment-writer.ts";
import type { AppendResult } from "./span-log.ts";

/** Initial state of a partition. */
export interface PartitionParts {
  admission: Admission;
  writer: SegmentWriter;
  memory: RetryMemory;
  durableEnd: number;
}

export interface RecordInput {
  tenant: string;
  tenantBytes: Uint8Array;
  parts: readonly Uint8Array[];
  bytesLength: number;
  /** Key of the record's request; undefined: the record's bytes identify it. */
  key: Uint8Array | undefined;
  signal: AbortSignal | undefined;
}

interface Waiter {
  resolve(result: AppendResult): void;
  reject(error: unknown): void;
  duplicate: boolean;
  signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
}

/** A record between `append` and its durability. */
interface PendingRecord {
  key: string;
  hash: Buffer;
  tenantBytes: Uint8Array;
  parts: readonly Uint8Array[];
  bytesLength: number;
  sizeBytes: number;
  bodyCrc: number;
  appendedMs: number;
  waiters: Waiter[];
  writing: boolean;
}

/** Maximum records of one write; more would lengthen its list of buffers and save nothing. */
const GROUP_RECORDS_MAX = 1024;

/** A partition is busy if a record arrives within this many linger times of the last group. */
const busyLingers = 4;

export class PartitionLog {
  readonly partition: number;
  readonly memory: RetryMemory;

  readonly #context: LogContext;
  readonly #admission: Admission;
  readonly #writer: SegmentWriter;
  readonly #subscribers = new Set<(endOffset: number) => void>();
  readonly #inFlight = new Map<string, PendingRecord>();
  #queue: PendingRecord[] = [];
  #durableEnd: number;
  #scratch: Buffer = Buffer.allocUnsafeSlow(16 * 1024);
  #isRunning = false;
  /** Time of the last group, by `performance.now()`. */
  #lastGroupMs = Number.NEGATIVE_INFINITY;
  readonly #whenIdle: (() => void)[] = [];
  #isClosed = false;
  #isFailing = false;
  /** Set when another process may own the log: every append throws it. */
  #lost: SpoorError | undefined;
  /** Settles when the last exclusive job is done; never rejects. */
  #lastJob: Promise<unknown> = Promise.resolve();

  constructor(context: LogContext, partition: number, parts: PartitionParts) {
    this.partition = partition;
    this.memory = parts.memory;
    this.#context = context;
    this.#admission = parts.admission;
    this.#writer = parts.writer;
    this.#durableEnd = parts.durableEnd;
  }

  get segmentCount(): number {
    return this.#writer.segments.length;
  }

  get durableEnd(): number {
    return this.#durableEnd;
  }

  subscribe(onDurable: (endOffset: number) => void): () => void {
    this.#subscribers.add(onDurable);
    return () => this.#subscribers.delete(onDurable);
  }

  async append(input: RecordInput): Promise<AppendResult> {
    this.#refuseClosedOrAborted(input.signal);
    const hash = this.#hashOf(input);
    const key = hash.toString("latin1");
    const known = this.#findKnown(key, hash, input.signal) ?? this.#findOld(input);
    if (known !== undefined) return known;
    const sizeBytes = RECORD_HEADER_BYTES + input.tenantBytes.length + input.bytesLength;
    const freeSpaceKnown = this.#admission.refresh(sizeBytes);
    if (freeSpaceKnown !== undefined) {
      await freeSpaceKnown;
      this.#refuseClosedOrAborted(input.signal);
      const nowKnown = this.#findKnown(key, hash, input.signal);
      if (nowKnown !== undefined) return nowKnown;
    }
    this.#admission.check(sizeBytes);
    return this.#enqueue(key, hash, sizeBytes, input);
  }

  /** Begins a new segment if all records are below `upTo` and exceed `trimRotateBytes`. */
  sealTrimmed(upTo: number): Promise<void> {
    return this.#exclusive(async () => {
      const active = this.#writer.segments.at(-1);
      const isLarge = active !== undefined && active.bytes > this.#context.bounds.trimRotateBytes;
      if (upTo >= this.#durableEnd && isLarge) await this.#writer.startSegment(this.#durableEnd);
    });
  }

  /** Raises the next offset to at least `offset`. */
  advance(offset: number): Promise<void> {
    return this.#exclusive(async () => {
      if (offset <= this.#durableEnd) return;
      // Set before the segment starts: after a failure no record may get an offset that the new
      // segment hides.
      this.#durableEnd = offset;
      await this.#writer.startSegment(offset);
      this.#notify();
    });
  }

  /** Refuses new records, waits for pending ones, closes the file. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#isRunning) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
    await this.#exclusive(() => this.#writer.close());
  }

  #refuseClosedOrAborted(signal: AbortSignal | undefined): void {
    if (this.#isClosed) throw logClosed("append to");
    if (this.#lost !== undefined) throw this.#lost;
    if (signal?.aborted === true) throw canceled(signal);
  }

  #hashOf({ tenant, parts, key }: RecordInput): Buffer {
    if (key === undefined) return hashRecord(this.partition, tenant, parts);
    return Buffer.from(key);
  }

  #findKnown(
    key: string,
    hash: Buffer,
    signal: AbortSignal | undefined,
  ): Promise<AppendResult> | undefined {
    const { clock, counters } = this.#context;
    const inFlight = this.#inFlight.get(key);
    if (inFlight !== undefined) {
      counters.duplicatesTotal++;
      return this.#wait(inFlight, true, signal);
    }
    const offset = this.memory.find(hash, clock.monotonicMs());
    if (offset < 0) return undefined;
    counters.duplicatesTotal++;
    return Promise.resolve({ offset, duplicate: true });
  }

  /** Finds a duplicate among records of format 1, which have no request key. */
  #findOld({ tenant, parts, key }: RecordInput): AppendResult | undefined {
    const { clock, counters, oldHashesUntilMs } = this.#context;
    const nowMs = clock.monotonicMs();
    if (key === undefined || nowMs >= oldHashesUntilMs) return undefined;
    const offset = this.memory.find(hashRecord(this.partition, tenant, parts), nowMs);
    if (offset < 0) return undefined;
    counters.duplicatesTotal++;
    return { offset, duplicate: true };
  }

  #enqueue(
    key: string,
    hash: Buffer,
    sizeBytes: number,
    input: RecordInput,
  ): Promise<AppendResult> {
    let bodyCrc = crc32(input.tenantBytes);
    for (const part of input.parts) bodyCrc = crc32(part, bodyCrc);
    const record: PendingRecord = {
      key,
      hash,
      tenantBytes: input.tenantBytes,
      parts: input.parts,
      bytesLength: input.bytesLength,
      sizeBytes,
      bodyCrc,
      appendedMs: Math.max(0, Math.floor(this.#context.clock.nowMs())),
      waiters: [],
      writing: false,
    };
    const { counters } = this.#context;
    counters.pendingBytes += sizeBytes;
    counters.pendingRecords++;
    this.#inFlight.set(key, record);
    this.#queue.push(record);
    this.#startRunning();
    return this.#wait(record, false, input.signal);
  }

  #wait(
    record: PendingRecord,
    duplicate: boolean,
    signal: AbortSignal | undefined,
  ): Promise<AppendResult> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { resolve, reject, duplicate, signal, onAbort: undefined };
      record.waiters.push(waiter);
      if (signal === undefined) return;
      waiter.onAbort = () => this.#abort(record, waiter, signal);
      signal.addEventListener("abort", waiter.onAbort, { once: true });
    });
  }

  #abort(record: PendingRecord, waiter: Waiter, signal: AbortSignal): void {
    record.waiters.splice(record.waiters.indexOf(waiter), 1);
    waiter.reject(canceled(signal));
    // A record without waiters whose write has not begun is dropped.
    if (record.waiters.length > 0 || record.writing) return;
    this.#queue.splice(this.#queue.indexOf(record), 1);
    this.#forget(record);
  }

  #startRunning(): void {
    if (this.#isRunning || this.#queue.length === 0) return;
    this.#isRunning = true;
    // Under load the group lingers, so that requests share a write and an fsync. A record after an
    // idle time does not wait.
    const { groupLingerMs } = this.#context.bounds;
    const isBusy = performance.now() - this.#lastGroupMs < groupLingerMs * busyLingers;
    if (isBusy) setTimeout(() => void this.#run(), groupLingerMs);
    else setImmediate(() => void this.#run());
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) await this.#exclusive(() => this.#writeNextGroup());
    this.#lastGroupMs = performance.now();
    this.#isRunning = false;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  async #writeNextGroup(): Promise<void> {
    const group = this.#takeGroup();
    if (group.length === 0) return;
    if (this.#lost !== undefined) return this.#rejectAll(group, this.#lost);
    let groupBytes = 0;
    for (const record of group) groupBytes += record.sizeBytes;
    try {
      await this.#writer.prepare(groupBytes, this.#durableEnd);
      await this.#writer.write(this.#encode(group), groupBytes);
    } catch (error) {
      this.#rejectAll(group, error);
      return;
    }
    this.#acknowledge(group, groupBytes);
  }

  #takeGroup(): PendingRecord[] {
    const { groupBytesMax } = this.#context.bounds;
    let count = 0;
    let bytes = 0;
    for (const record of this.#queue) {
      if (count === GROUP_RECORDS_MAX || (count > 0 && bytes + record.sizeBytes > groupBytesMax)) {
        break;
      }
      record.writing = true;
      bytes += record.sizeBytes;
      count++;
    }
    if (count < this.#queue.length) return this.#queue.splice(0, count);
    const group = this.#queue;
    this.#queue = [];
    return group;
  }

  /** Returns the buffers to write: each record's header and tenant in `scratch`, then its parts. */
  #encode(group: readonly PendingRecord[]): Uint8Array[] {
    let headerBytes = 0;
    for (const record of group) headerBytes += RECORD_HEADER_BYTES + record.tenantBytes.length;
    if (this.#scratch.length < headerBytes) {
      this.#scratch = Buffer.allocUnsafeSlow(headerBytes * 2);
    }
    const out = this.#scratch;
    const buffers: Uint8Array[] = [];
    let pos = 0;
    let offset = this.#durableEnd;
    for (const record of group) {
      const { appendedMs, bodyCrc, bytesLength, hash, tenantBytes } = record;
      const tenantLength = tenantBytes.length;
      const header = { bodyCrc, bytesLength, offset, appendedMs, hash, tenantLength };
      const tenantPos = encodeRecordHeader(out, pos, this.#writer.seed, header);
      out.set(tenantBytes, tenantPos);
      buffers.push(out.subarray(pos, tenantPos + tenantLength));
      for (const part of record.parts) if (part.byteLength > 0) buffers.push(part);
      pos = tenantPos + tenantLength;
      offset++;
    }
    return buffers;
  }

  #acknowledge(group: readonly PendingRecord[], groupBytes: number): void {
    const { clock, counters, log } = this.#context;
    const nowMs = clock.monotonicMs();
    let offset = this.#durableEnd;
    this.#durableEnd += group.length;
    counters.groupsTotal++;
    counters.appendedRecordsTotal += group.length;
    counters.appendedBytesTotal += groupBytes;
    for (const record of group) {
      this.memory.add(record.hash, offset, nowMs);
      this.#forget(record);
      for (const waiter of record.waiters) {
        releaseSignal(waiter);
        waiter.resolve({ offset, duplicate: waiter.duplicate });
      }
      offset++;
    }
    if (this.#isFailing) log.info({ folder: this.#writer.folder }, "log can be written again");
    this.#isFailing = false;
    this.#notify();
  }

  #rejectAll(group: readonly PendingRecord[], cause: unknown): void {
    const { counters, log } = this.#context;
    const waiting = this.#queue;
    this.#queue = [];
    counters.writeFailuresTotal++;
    if (!this.#isFailing) {
      log.error({ folder: this.#writer.folder, error: errorText(cause) }, "log cannot be written");
    }
    this.#isFailing = true;
    if (isOwnerLost(cause)) this.#lost = cause;
    const error = isOwnerLost(cause)
      ? cause
      : writeFailed(`append to ${this.#writer.folder}`, cause);
    for (const record of [...group, ...waiting]) {
      this.#forget(record);
      for (const waiter of record.waiters) {
        releaseSignal(waiter);
        waiter.reject(error);
      }
    }
  }

  #forget(record: PendingRecord): void {
    const { counters } = this.#context;
    counters.pendingBytes -= record.sizeBytes;
    counters.pendingRecords--;
    this.#inFlight.delete(record.key);
  }

  #notify(): void {
    for (const onDurable of this.#subscribers) {
      try {
        onDurable(this.#durableEnd);
      } catch (error) {
        const fields = { folder: this.#writer.folder, error: errorText(error) };
        this.#context.log.error(fields, "subscriber of the log failed");
      }
    }
  }

  /** Serialises jobs that use the active segment. */
  #exclusive<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#lastJob.then(job);
    this.#lastJob = result.catch(() => undefined);
    return result;
  }
}

function releaseSignal(waiter: Waiter): void {
  if (waiter.onAbort !== undefined) waiter.signal?.removeEventListener("abort", waiter.onAbort);
}

function canceled(signal: AbortSignal): SpoorError {
  return new SpoorError("Canceled", "append to the log was canceled", { cause: signal.reason });
}
