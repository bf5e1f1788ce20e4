/**
 * The segment files of one partition on their writing side. Not re-entrant: one call at a time.
 *
 * A failed write is cut off again. After a failed fdatasync the kernel may have dropped the pages
 * and say yes the next time, so that file is never written again: the next group begins a new
 * segment at the same offset. What the old one holds from there on does not count (FORMAT.md).
 *
 * A process that may have lost the log to another one changes no file any more: the records that it
 * would cut off may be among those that the other one has read and acknowledged.
 */
import {
  encodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
  type SegmentId,
  segmentName,
  segmentSeed,
} from "./format.ts";
import { assertOwner, errorText, partitionFolder, type LogContext } from "./log-context.ts";
import { createDurably, writeAll, type LogFile } from "./log-fs.ts";

/** One file. Its records end where the next segment begins. */
export interface Segment extends SegmentId {
  bytes: number;
}

export class SegmentWriter {
  readonly folder: string;
  /** Oldest first. Trimming takes from the front, a new segment goes to the end. */
  readonly segments: Segment[];

  readonly #context: LogContext;
  readonly #partition: number;
  /** The last segment, open; undefined if it must not be written (again). */
  #file: LogFile | undefined;
  #seed = 0;

  /** Starts without a file to write to: an owner never appends to another one's. */
  constructor(context: LogContext, partition: number, segments: Segment[]) {
    this.folder = partitionFolder(context.dir, partition);
    this.segments = segments;
    this.#context = context;
    this.#partition = partition;
  }

  /** What record headers are checked with (`segmentSeed`) in the segment that is written to. */
  get seed(): number {
    return this.#seed;
  }

  /** Makes sure that a segment is open whose next record is `nextOffset`, with room for a group. */
  async prepare(groupBytes: number, nextOffset: number): Promise<void> {
    const active = this.segments.at(-1);
    const isFull =
      active !== undefined &&
      active.bytes > SEGMENT_HEADER_BYTES &&
      active.bytes + groupBytes > this.#context.bounds.segmentBytesMax;
    if (this.#file === undefined || isFull) await this.startSegment(nextOffset);
  }

  /** Resolves when the buffers are durable; on an error nothing of them counts. After `prepare`. */
  async write(buffers: readonly Uint8Array[], groupBytes: number): Promise<void> {
    const { counters } = this.#context;
    const active = this.segments.at(-1)!;
    const file = this.#file!;
    const startMs = performance.now();
    try {
      await writeAll(file, buffers, active.bytes);
    } catch (error) {
      await this.#cutOff(file, active.bytes);
      throw error;
    }
    counters.fsyncsTotal++;
    try {
      await file.datasync();
    } catch (error) {
      await this.#abandon(file, active.bytes);
      throw error;
    }
    assertOwner(this.#context);
    active.bytes += groupBytes;
    counters.bytes += groupBytes;
    this.#context.onGroup(performance.now() - startMs);
  }

  /** Ends the last segment (also if this fails) and begins one at `firstOffset`. */
  async startSegment(firstOffset: number): Promise<void> {
    const { clock, counters, fs, logId, owner } = this.#context;
    assertOwner(this.#context);
    const header = encodeSegmentHeader({
      logId,
      partition: this.#partition,
      firstOffset,
      owner,
      createdMs: Math.max(0, Math.floor(clock.nowMs())),
    });
    // The new name may be on the disk even if this fails: the old file's tail counts no more.
    await this.#closeFile();
    const file = await createDurably(fs, this.folder, segmentName({ firstOffset, owner }), header);
    counters.fsyncsTotal += 2;
    counters.bytes += SEGMENT_HEADER_BYTES;
    const last = this.segments.at(-1);
    if (last?.firstOffset === firstOffset && last.owner === owner) {
      // It held no durable record; its file was just replaced.
      counters.bytes -= last.bytes;
      this.segments.pop();
    }
    this.segments.push({ firstOffset, owner, bytes: SEGMENT_HEADER_BYTES });
    this.#file = file;
    this.#seed = segmentSeed(logId, this.#partition, { firstOffset, owner });
  }

  async close(): Promise<void> {
    await this.#closeFile();
  }

  /** Removes what a failed write may have left behind the segment's last durable record. */
  async #cutOff(file: LogFile, toBytes: number): Promise<void> {
    assertOwner(this.#context);
    try {
      await file.truncate(toBytes);
    } catch (error) {
      this.#warn(error, "failed write was not cut off: starting a new log segment");
      await this.#closeFile();
    }
  }

  async #abandon(file: LogFile, durableBytes: number): Promise<void> {
    assertOwner(this.#context);
    try {
      await file.truncate(durableBytes);
    } catch (error) {
      // The next segment's name tells readers to ignore this tail: it only costs space.
      this.#warn(error, "abandoned log segment was not cut off");
    }
    await this.#closeFile();
  }

  /** Its durable records are durable whatever close says. */
  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    try {
      await file?.close();
    } catch (error) {
      this.#warn(error, "log segment did not close");
    }
  }

  #warn(error: unknown, message: string): void {
    this.#context.log.warn({ folder: this.folder, error: errorText(error) }, message);
  }
}
