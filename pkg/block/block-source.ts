/**
 * Supplies the bytes of a block to the Parquet reader. The footer is in memory. Ranges of the body
 * are fetched before they are needed, in whole segments, and checked against their CRC-32.
 *
 *     | segment | segment | segment | ... | index section | footer         |
 *         [ held range ]     [ held ]                     [ always there ]
 *
 * The Parquet reader panics if one of its reads fails, so all reads from the store happen before.
 */
import { crc32 } from "node:zlib";
import type { Arena } from "#pkg/bytes/bytes.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { ObjectStore, ReadOptions } from "#pkg/objstore/objstore.ts";
import type { ByteRange, Segment } from "#pkg/parquet/parquet.ts";
import type { RangeSource } from "#pkg/parquet/parquet-wasm.ts";

/** Locates a block. Without `footerOffset`, one more read finds it from the end of the file. */
export interface BlockAddress {
  store: Pick<ObjectStore, "getRange">;
  key: string;
  sizeBytes: number;
  /** Where the index section and the Parquet footer start, as far as they are known. */
  indexOffset?: number;
  footerOffset?: number;
  /** `blockFactsCrc` of the block's commit; unchecked if absent. */
  factsCrc?: number;
}

export interface HoldOptions extends ReadOptions {
  /** Where to put the bytes; they are valid until the arena's next `reset`. */
  arena?: Arena;
}

interface Held extends ByteRange {
  bytes: Uint8Array;
}

/** Ranges with a smaller gap are read together: a request costs more than these bytes. 128 KiB. */
const gapBytesMax = 128 * 1024;
/** Most bytes of one request, if segments allow it: 32 MiB. */
const requestBytesMax = 32 * 1024 * 1024;
/** Most concurrent requests. */
const requestsMax = 8;

export class BlockSource implements RangeSource {
  readonly sizeBytes: number;
  readonly bodyBytes: number;
  readonly segments: readonly Segment[];
  /** Bytes of the body read so far. */
  readBytes = 0;
  readonly #place: BlockAddress;
  readonly #footer: Uint8Array;
  readonly #ends: Float64Array;
  readonly #held = new Set<Held>();

  /** `footer` is the file from the Parquet footer on. Throws Corrupt if the segments do not fit. */
  constructor(
    place: BlockAddress,
    segments: readonly Segment[],
    footer: Uint8Array,
    bodyBytes: number,
  ) {
    this.#place = place;
    this.sizeBytes = place.sizeBytes;
    this.bodyBytes = bodyBytes;
    this.segments = segments;
    this.#footer = footer;
    this.#ends = new Float64Array(segments.length);
    let end = 0;
    segments.forEach(({ sizeBytes }, i) => {
      end += sizeBytes;
      this.#ends[i] = end;
    });
    if (end !== bodyBytes) {
      throw new SpoorError("Corrupt", `segments cover ${end} bytes, the body has ${bodyBytes}`);
    }
  }

  /**
   * Fetches and checks ranges of the body. `read` can return them until the caller calls the
   * returned function. Throws Corrupt, or what the store throws.
   */
  async hold(ranges: readonly ByteRange[], options: HoldOptions = {}): Promise<() => void> {
    const wanted = this.#coalesce(ranges);
    const held: Held[] = [];
    const release = (): void => {
      for (const one of held) this.#held.delete(one);
    };
    let next = 0;
    const fetchSome = async (): Promise<void> => {
      while (next < wanted.length) {
        const one = await this.#fetch(wanted[next++], options);
        held.push(one);
        this.#held.add(one);
      }
    };
    const lanes = Array.from({ length: Math.min(requestsMax, wanted.length) }, fetchSome);
    const results = await Promise.allSettled(lanes);
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) return release;
    release();
    throw failed.reason;
  }

  /** Returns bytes [start, end), which must be held or in the footer. Throws Corrupt. */
  read(start: number, end: number): Uint8Array {
    if (!(start >= 0 && start < end && end <= this.sizeBytes)) {
      throw new SpoorError("Corrupt", `read of bytes ${start} to ${end} of ${this.sizeBytes}`);
    }
    const footerOffset = this.sizeBytes - this.#footer.length;
    if (start >= footerOffset) {
      return this.#footer.subarray(start - footerOffset, end - footerOffset);
    }
    for (const held of this.#held) {
      if (held.start > start || held.end < end) continue;
      return held.bytes.subarray(start - held.start, end - held.start);
    }
    throw new SpoorError("Corrupt", `bytes ${start} to ${end} belong to no requested column`);
  }

  /** Extends ranges to whole segments and joins neighbours. Skips ranges outside the body. */
  #coalesce(ranges: readonly ByteRange[]): ByteRange[] {
    const out: ByteRange[] = [];
    const inside = ranges.filter(({ start, end }) => start >= 0 && start < end);
    for (const { start, end } of inside.toSorted((a, b) => a.start - b.start)) {
      if (start >= this.bodyBytes) break;
      const first = this.#segmentAt(start);
      const from = first === 0 ? 0 : this.#ends[first - 1];
      const to = this.#ends[this.#segmentAt(Math.min(end, this.bodyBytes) - 1)];
      const last = out.at(-1);
      const joins = last !== undefined && from - last.end <= gapBytesMax;
      if (joins && Math.max(to, last.end) - last.start <= requestBytesMax) {
        last.end = Math.max(to, last.end);
      } else out.push({ start: from, end: to });
    }
    return out;
  }

  async #fetch({ start, end }: ByteRange, options: HoldOptions): Promise<Held> {
    const { store, key } = this.#place;
    const { signal, isFresh, arena } = options;
    const into = arena?.uint8(end - start);
    const bytes = await store.getRange(key, start, end, { signal, isFresh, into });
    this.readBytes += bytes.length;
    let at = start;
    for (let i = this.#segmentAt(start); at < end; i++) {
      const { sizeBytes, crc } = this.segments[i];
      if (crc32(bytes.subarray(at - start, at - start + sizeBytes)) !== crc) {
        const message = `checksum of bytes ${at} to ${at + sizeBytes} does not match`;
        throw new SpoorError("Corrupt", message);
      }
      at += sizeBytes;
    }
    return { start, end, bytes };
  }

  /** Returns the index of the segment that holds byte `at`. */
  #segmentAt(at: number): number {
    let low = 0;
    let high = this.#ends.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ends[middle] <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
