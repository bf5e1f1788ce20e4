/**
 * Finds the valid records of one segment file, one window of bytes at a time, and resynchronises
 * after damage. Hot: runs per record; benchmark `file-log.bench.ts`.
 *
 *     file    | header | rec 0 | rec 1 | /// bad /// | rec 3 | rec 4 | torn
 *     window                   |<--------- buffer --------->|
 *                              ^ position     ^ next valid record, by its marker and header CRC
 *
 * Damage needs no extra state: it appears as a jump from `expected` to the next valid offset.
 */
import { fstatSync, readSync } from "node:fs";
import {
  isRecordBody,
  isRecordHeader,
  RECORD_HEADER_BYTES,
  RECORD_MARKER,
  recordLength,
  recordOffset,
  SEGMENT_HEADER_BYTES,
} from "./format.ts";

/**
 * `record`: a record is at `recordPos` of `buffer`. `refill`: the window does not contain the whole
 * next record, so call `fill` (which overwrites the buffer). `end`: there are no more records.
 */
export type WalkStep = "record" | "refill" | "end";

export class SegmentWalker {
  /** The window. Overwritten by `fill`. */
  buffer: Buffer = Buffer.alloc(0);
  /** Position in `buffer` of the record of the last step. */
  recordPos = 0;
  /** The least offset that the next record may have. */
  expected = 0;
  /** Bytes of the file up to the end of the last valid record. */
  cleanBytes: number = SEGMENT_HEADER_BYTES;
  /** Size of the file when the window was filled. */
  fileBytes = 0;

  #fd = -1;
  #seed = 0;
  #limit = 0;
  #position = SEGMENT_HEADER_BYTES;
  #windowStart = SEGMENT_HEADER_BYTES;
  #windowBytes = 0;
  #wantedBytes = 0;

  /** Moves to the first record of a segment. `seed` is the segment's (see `segmentSeed`). */
  start(fd: number, seed: number, firstOffset: number): void {
    this.#fd = fd;
    this.#seed = seed;
    this.expected = firstOffset;
    this.cleanBytes = SEGMENT_HEADER_BYTES;
    this.#position = SEGMENT_HEADER_BYTES;
    this.#windowStart = SEGMENT_HEADER_BYTES;
    this.#windowBytes = 0;
    this.#wantedBytes = 0;
  }

  /**
   * Reads about `windowBytes` bytes of the file from the current position. Offsets at and above
   * `limit` belong to the next segment or are not durable, so the walk ends there.
   */
  fill(windowBytes: number, limit: number): void {
    this.#limit = limit;
    this.fileBytes = fstatSync(this.#fd).size;
    const left = Math.max(0, this.fileBytes - this.#position);
    const want = Math.min(left, Math.max(windowBytes, this.#wantedBytes, RECORD_HEADER_BYTES));
    if (this.buffer.length < want) this.buffer = Buffer.allocUnsafeSlow(want);
    let got = 0;
    while (got < want) {
      const count = readSync(this.#fd, this.buffer, got, want - got, this.#position + got);
      if (count === 0) {
        this.fileBytes = this.#position + got;
        break;
      }
      got += count;
    }
    this.#windowStart = this.#position;
    this.#windowBytes = got;
    this.#wantedBytes = 0;
  }

  next(): WalkStep {
    while (this.expected < this.#limit) {
      const pos = this.#position - this.#windowStart;
      const left = this.#windowBytes - pos;
      if (left < RECORD_HEADER_BYTES) return this.#needs(RECORD_HEADER_BYTES);
      if (!this.#isPlausible(pos)) {
        this.#skipToMarker(pos);
        continue;
      }
      const length = recordLength(this.buffer, pos);
      if (left < length) return this.#needs(length);
      const offset = recordOffset(this.buffer, pos);
      if (offset >= this.#limit) return "end";
      this.#position += length;
      if (!isRecordBody(this.buffer, pos)) continue;
      this.recordPos = pos;
      this.expected = offset + 1;
      this.cleanBytes = this.#position;
      return "record";
    }
    return "end";
  }

  #needs(bytes: number): WalkStep {
    if (this.#windowStart + this.#windowBytes >= this.fileBytes) return "end";
    this.#wantedBytes = bytes;
    return "refill";
  }

  /** Returns whether the header is valid, and its offset skips no more records than bytes allow. */
  #isPlausible(pos: number): boolean {
    if (!isRecordHeader(this.buffer, pos, this.#seed)) return false;
    const missing = recordOffset(this.buffer, pos) - this.expected;
    return missing >= 0 && missing * RECORD_HEADER_BYTES <= this.#position - this.cleanBytes;
  }

  #skipToMarker(pos: number): void {
    const window = this.buffer.subarray(0, this.#windowBytes);
    const found = window.indexOf(RECORD_MARKER, pos + 1);
    const next = found >= 0 ? found : Math.max(pos + 1, this.#windowBytes - 3);
    this.#position = this.#windowStart + next;
  }
}
