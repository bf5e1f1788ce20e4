/**
 * Reads one partition of a file log on a worker thread, knowing only the files. Synchronous: the
 * worker has nothing else to do, and the bytes are mostly still in the page cache.
 * Hot: runs per record; benchmark `file-log.bench.ts`.
 *
 * A list of segment names taken after a durable end was told is right for every record below that
 * end: a segment is there before its first record is durable. So it is read again for each new end.
 */
import { closeSync, readdirSync } from "node:fs";
import { SpoorError } from "#pkg/errors/errors.ts";
import { openRegularFile } from "#pkg/files/regular-file.ts";
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
import { ingesterName, type LogBatch, type LogReader, type LogReadOptions } from "./spanlog.ts";
import { isOffset, readLogState, readTrimState } from "./state-file.ts";

/** `LogReader` whose `read` answers at once. */
export interface FileLogReader extends LogReader {
  read(fromOffset: number, durableTo: number, options: LogReadOptions): LogBatch;
}

/**
 * Reads for the ingesters, or for the consumer that is named. NotFound if there is no log or no
 * such partition; Corrupt or InvalidInput as `openFileLog`.
 */
export function openFileLogReader(
  dir: string,
  partition: number,
  consumer: string = ingesterName,
): FileLogReader {
  const state = readLogState(dir);
  if (state === undefined || !(partition < state.partitionCount) || !isOffset(partition)) {
    throw new SpoorError("NotFound", `open partition ${partition} of the log ${dir}: not there`);
  }
  return new Reader(dir, state.logId, { partition, consumer });
}

class Reader implements FileLogReader {
  readonly #folder: string;
  readonly #logId: string;
  readonly #partition: number;
  readonly #consumer: string;
  readonly #walker = new SegmentWalker();
  /** The segments that count, by their first offsets; right below `listedTo`. */
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

  /** Once per read of a consumer that can lose its claim: the appender wrote down that it has. */
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

  /** Adds records of one window of one segment, or a gap. Always gets `nextOffset` further. */
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
    // The file may be short of what was told durable only by damage. Begin again at its start for
    // the next read: the walker may stand inside of a record that was just being written.
    this.#addGap(batch, limit);
    this.#closeSegment();
  }

  /** Index of the segment that holds an offset, now open; -1 if none begins so early. */
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
      // Trimmed after it was listed: the next list is without it.
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

  /** Records of one tenant mostly follow each other. */
  #tenant(buffer: Buffer, start: number, end: number): string {
    const bytes = buffer.subarray(start, end);
    if (!this.#lastTenantBytes.equals(bytes)) {
      this.#lastTenantBytes = Buffer.from(bytes);
      this.#lastTenant = bytes.toString();
    }
    return this.#lastTenant;
  }

  /** What was trimmed is told apart from what was lost. */
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
      // Not known to be trimmed: then it counts as lost, which is reported louder.
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
