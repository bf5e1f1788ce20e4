/**
 * Reads one partition of a file log on a worker thread, from the files alone. Synchronous, because
 * the worker has no other work, and most bytes are still in the page cache.
 * Hot: runs per record; benchmark `file-log.bench.ts`.
 *
 * A segment file exists before its first record is durable. So a listing of the folder that is made
 * after a durable end was reported has the segments of all records below that end. The folder is
 * listed again for each new end.
 */
import { closeSync, readdirSync } from "node:fs";
import { SpoorError } from "#pkg/errors/errors.ts";
import { openRegularFile } from "#pkg/files/files.ts";
import {
  RECORD_HEADER_BYTES,
  recordAppendedMs,
  recordBytesStart,
  recordLength,
  recordOffset,
  type SegmentId,
  segmentName,
  segmentSeed,
} from "./format.ts";
import { claimLostError, errorText, partitionFolder } from "./log-context.ts";
import { SegmentWalker } from "./segment-walker.ts";
import { listSegments } from "./segments.ts";
import { ingesterName, type LogBatch, type LogReader, type LogReadOptions } from "./span-log.ts";
import { isOffset, readLogState, readTrimState } from "./state-file.ts";

/** A `LogReader` whose `read` is synchronous. */
export interface FileLogReader extends LogReader {
  read(fromOffset: number, durableTo: number, options: LogReadOptions): LogBatch;
}

/**
 * Opens a reader for the ingesters, or for the named consumer. Throws NotFound if the log or the
 * partition does not exist; Corrupt or InvalidInput like `openFileLog`.
 */
export function openFileLogReader(
  dir: string,
  partition: number,
  consumer: string = ingesterName,
): FileLogReader {
  const state = readLogState(dir);
  if (state === undefined || !(partition < state.partitionCount) || !isOffset(partition)) {
    throw new SpoorError("NotFound", `open partition ${partition} of the log ${dir}: not found`);
  }
  return new Reader(dir, state.logId, { partition, consumer });
}

class Reader implements FileLogReader {
  readonly #folder: string;
  readonly #logId: string;
  readonly #partition: number;
  readonly #consumer: string;
  readonly #walker = new SegmentWalker();
  /** Valid segments by first offset; complete for offsets below `listedTo`. */
  #segments: SegmentId[] = [];
  #listedTo = -1;
  #fd = -1;
  #open: SegmentId | undefined;
  #lastTenant = "";
  #lastTenantBytes: Buffer = Buffer.alloc(0);

  constructor(
    dir: string,
    logId: string,
    { partition, consumer }: { partition: number; consumer: string },
  ) {
    this.#consumer = consumer;
    this.#folder = partitionFolder(dir, partition);
    this.#logId = logId;
    this.#partition = partition;
  }

  read(fromOffset: number, durableTo: number, options: LogReadOptions): LogBatch {
    const { bytesMax } = options;
    if (
      !isOffset(fromOffset) ||
      !isOffset(durableTo) ||
      fromOffset > durableTo ||
      !(bytesMax > 0)
    ) {
      const text = `read ${bytesMax} bytes of ${this.#folder} from ${fromOffset} to ${durableTo}`;
      throw new SpoorError("InvalidInput", text);
    }
    const batch: LogBatch = { records: [], gaps: [], nextOffset: fromOffset };
    try {
      if (this.#consumer !== ingesterName) this.#refuseLost();
      while (batch.records.length === 0 && batch.nextOffset < durableTo) {
        this.#readSegment(batch, durableTo, bytesMax);
      }
    } catch (error) {
      this.#closeSegment();
      if (error instanceof SpoorError) throw error;
      const text = `read ${this.#folder} from ${fromOffset}: ${errorText(error)}`;
      throw new SpoorError("Unavailable", text, { cause: error, reason: "log_read_failed" });
    }
    return batch;
  }

  /** Throws if the appender has recorded that the consumer lost its claim. Once per read. */
  #refuseLost(): void {
    const known = readTrimState(this.#folder)?.others.get(this.#consumer);
    if (known?.isLost !== true) return;
    throw claimLostError(this.#consumer, this.#folder, known.position);
  }

  close(): void {
    this.#closeSegment();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Adds records of one window of one segment, or a gap. Always advances `nextOffset`. */
  #readSegment(batch: LogBatch, durableTo: number, bytesMax: number): void {
    const from = batch.nextOffset;
    const index = this.#findSegment(from, durableTo);
    if (index < 0) {
      this.#addGap(batch, Math.min(this.#segments[0]?.firstOffset ?? durableTo, durableTo));
      return;
    }
    const limit = Math.min(durableTo, this.#segments[index + 1]?.firstOffset ?? durableTo);
    const walker = this.#walker;
    if (walker.expected !== from) this.#restart(this.#segments[index]);
    for (;;) {
      walker.fill(bytesMax + RECORD_HEADER_BYTES, limit);
      let step = walker.next();
      for (; step === "record"; step = walker.next()) this.#addRecord(batch, from);
      if (step === "end") break;
      if (batch.records.length > 0) return;
    }
    if (batch.nextOffset >= limit) return;
    // Only damage can end the file before the durable end. The next read starts the segment again,
    // because the walker may be inside of a record that was just being written.
    this.#addGap(batch, limit);
    this.#closeSegment();
  }

  /** Opens the segment with an offset and returns its index; -1 if all begin after the offset. */
  #findSegment(from: number, durableTo: number): number {
    for (;;) {
      const wasListed = durableTo > this.#listedTo;
      if (wasListed) {
        this.#segments = listSegments(readdirSync(this.#folder)).live;
        this.#listedTo = durableTo;
      }
      const index = this.#segments.findLastIndex(({ firstOffset }) => firstOffset <= from);
      if (index < 0 || isSame(this.#open, this.#segments[index])) return index;
      if (this.#openSegment(this.#segments[index])) return index;
      // The segment was trimmed after the listing, so list again.
      this.#listedTo = -1;
    }
  }

  #openSegment(segment: SegmentId): boolean {
    this.#closeSegment();
    try {
      this.#fd = openRegularFile(`${this.#folder}/${segmentName(segment)}`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw error;
    }
    this.#restart(segment);
    this.#open = segment;
    return true;
  }

  #restart(segment: SegmentId): void {
    const seed = segmentSeed(this.#logId, this.#partition, segment);
    this.#walker.start(this.#fd, seed, segment.firstOffset);
  }

  #addRecord(batch: LogBatch, from: number): void {
    const { buffer, recordPos } = this.#walker;
    const offset = recordOffset(buffer, recordPos);
    if (offset < from) return;
    if (offset > batch.nextOffset) this.#addGap(batch, offset);
    const start = recordBytesStart(buffer, recordPos);
    batch.records.push({
      offset,
      tenant: this.#tenant(buffer, recordPos + RECORD_HEADER_BYTES, start),
      appendedMs: recordAppendedMs(buffer, recordPos),
      bytes: buffer.subarray(start, recordPos + recordLength(buffer, recordPos)),
    });
    batch.nextOffset = offset + 1;
  }

  /** Decodes a tenant; caches the last one, because consecutive records mostly have one tenant. */
  #tenant(buffer: Buffer, start: number, end: number): string {
    const bytes = buffer.subarray(start, end);
    if (!this.#lastTenantBytes.equals(bytes)) {
      this.#lastTenantBytes = Buffer.from(bytes);
      this.#lastTenant = bytes.toString();
    }
    return this.#lastTenant;
  }

  /** Adds gaps up to `toOffset`, separating trimmed offsets from lost ones. */
  #addGap(batch: LogBatch, toOffset: number): void {
    const fromOffset = batch.nextOffset;
    const trimmedTo = Math.min(toOffset, this.#trimmedTo());
    if (fromOffset < trimmedTo) {
      batch.gaps.push({ fromOffset, toOffset: trimmedTo, reason: "trimmed" });
    }
    const lostFrom = Math.max(fromOffset, trimmedTo);
    if (lostFrom < toOffset) batch.gaps.push({ fromOffset: lostFrom, toOffset, reason: "lost" });
    batch.nextOffset = toOffset;
  }

  #trimmedTo(): number {
    try {
      return readTrimState(this.#folder)?.trimmedTo ?? 0;
    } catch (error) {
      // Without a readable trim state the gap counts as lost, which is the louder report.
      if (error instanceof SpoorError && error.code === "Corrupt") return 0;
      throw error;
    }
  }

  #closeSegment(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    this.#open = undefined;
  }
}

function isSame(a: SegmentId | undefined, b: SegmentId): boolean {
  return a !== undefined && a.firstOffset === b.firstOffset && a.owner === b.owner;
}
