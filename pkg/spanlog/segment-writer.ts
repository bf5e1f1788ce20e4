/**
 * Writes the segment files of one partition. Not re-entrant: one call at a time.
 *
 * A failed write is truncated. After a failed fdatasync the kernel may have dropped the pages, and
 * the next fdatasync may succeed nevertheless. So the file is never written again: the next group
 * begins a new segment at the same offset, and readers ignore the old file from there (FORMAT.md).
 *
 * A process that may have lost the log to another owner stops changing files: the new owner may
 * have read and acknowledged the records that a truncation would remove.
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
  /** Oldest first. Trimming removes from the front, a new segment is added at the end. */
  readonly segments: Segment[];

  readonly #context: LogContext;
  readonly #partition: number;
  /** The last segment, open; undefined if it must not be written. */
  #file: LogFile | undefined;
  #seed = 0;

  /** Starts without an open file: an owner never appends to the segment of another owner. */
  constructor(context: LogContext, partition: number, segments: Segment[]) {
    this.folder = partitionFolder(context.dir, partition);
    this.segments = segments;
    this.#context = context;
    this.#partition = partition;
  }

  /** Seed of the record headers (`segmentSeed`) of the active segment. */
  get seed(): number {
    return this.#seed;
  }

  /** Opens a new segment at `nextOffset` unless the active one has space for the group. */
  async prepare(groupBytes: number, nextOffset: number): Promise<void> {
    const active = this.segments.at(-1);
    const isFull =
      active !== undefined &&
      active.bytes > SEGMENT_HEADER_BYTES &&
      active.bytes + groupBytes > this.#context.bounds.segmentBytesMax;
    if (this.#file === undefined || isFull) await this.startSegment(nextOffset);
  }

  /** Writes the buffers durably; after an error none of them is valid. Call `prepare` before. */
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

  /** Closes the active segment (also if this fails) and begins one at `firstOffset`. */
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
    // The new name may be on disk even if this fails, and then readers ignore the old file's tail.
    await this.#closeFile();
    const file = await createDurably(fs, this.folder, segmentName({ firstOffset, owner }), header);
    counters.fsyncsTotal += 2;
    counters.bytes += SEGMENT_HEADER_BYTES;
    const last = this.segments.at(-1);
    if (last?.firstOffset === firstOffset && last.owner === owner) {
      // The last segment had no durable record; its file was just replaced.
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

  /** Truncates the bytes of a failed write after the last durable record. */
  async #cutOff(file: LogFile, toBytes: number): Promise<void> {
    assertOwner(this.#context);
    try {
      await file.truncate(toBytes);
    } catch (error) {
      this.#warn(error, "a failed write could not be truncated, starting a new log segment");
      await this.#closeFile();
    }
  }

  async #abandon(file: LogFile, durableBytes: number): Promise<void> {
    assertOwner(this.#context);
    try {
      await file.truncate(durableBytes);
    } catch (error) {
      // Readers ignore this tail because of the next segment's name; it only costs space.
      this.#warn(error, "an abandoned log segment could not be truncated");
    }
    await this.#closeFile();
  }

  /** Closes the active file. A failed close is only logged: its records are synced already. */
  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    try {
      await file?.close();
    } catch (error) {
      this.#warn(error, "a log segment could not be closed");
    }
  }

  #warn(error: unknown, message: string): void {
    this.#context.log.warn({ folder: this.folder, error: errorText(error) }, message);
  }
}
