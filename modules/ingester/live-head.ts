/**
 * One tenant's head in one partition: spans, the log range that they came from, their time range.
 */
import { Head, type HeadData } from "#pkg/columns/head.ts";
import { HeadBatch } from "#pkg/columns/head-batch.ts";
import { HeadDecoder } from "#pkg/columns/head-decode.ts";
import type { HeadInfo } from "./messages.ts";

export class LiveHead {
  readonly id: number;
  readonly tenant: string;
  readonly fromOffset: number;
  readonly openedMs: number;
  readonly head: Head;
  /** Exclusive end of the log range; grows with every record. */
  toOffset: number;
  firstAppendedMs = 0;
  lastAppendedMs = 0;
  readonly #decoder: HeadDecoder;
  readonly #times = new TimeBounds();

  constructor(id: number, tenant: string, fromOffset: number, openedMs: number) {
    this.id = id;
    this.tenant = tenant;
    this.fromOffset = fromOffset;
    this.toOffset = fromOffset;
    this.openedMs = openedMs;
    this.head = new Head((Math.random() * 0x1_0000_0000) | 0);
    this.#decoder = new HeadDecoder(this.head);
  }

  /**
   * Appends a record's spans; returns how many. Throws InvalidInput and leaves the head as it
   * was.
   */
  append(record: Uint8Array, offset: number, appendedMs: number): number {
    const before = this.head.rows;
    const spans = this.#decoder.decode(record);
    const { start, end } = this.head.rowArrays;
    this.#times.extend(start.values, end.values, before, this.head.rows);
    this.toOffset = offset + 1;
    if (this.firstAppendedMs === 0) this.firstAppendedMs = appendedMs;
    this.lastAppendedMs = Math.max(this.lastAppendedMs, appendedMs);
    return spans;
  }

  pin(): PinnedData {
    const { min, max, end } = this.#times;
    return {
      data: this.head.freeze(),
      info: {
        headId: this.id,
        toOffset: this.toOffset,
        spans: this.head.rows,
        minStartNano: nano(min),
        maxStartNano: nano(max),
        maxEndNano: nano(end),
      },
    };
  }
}

/** A head as it was when a query pinned it. */
export interface PinnedData {
  data: HeadData;
  info: HeadInfo;
}

/** All spans of a pinned head. */
export function allSpans({ data }: PinnedData): HeadBatch {
  return new HeadBatch(
    data,
    Uint32Array.from({ length: data.rows }, (_, row) => row),
  );
}

/** The spans of some traces (16 bytes each) of a pinned head. */
export function spansOfTraces({ data }: PinnedData, ids: Uint8Array): HeadBatch {
  const codes = new Set<number>();
  const view = new DataView(ids.buffer, ids.byteOffset, ids.byteLength);
  const words = data.traceIds;
  for (let at = 0; at + 16 <= ids.length; at += 16) {
    const [a, b, c, d] = [0, 4, 8, 12].map((part) => view.getUint32(at + part));
    for (let i = 0; i < words.length; i += 4) {
      if (words[i + 3] === d && words[i + 2] === c && words[i + 1] === b && words[i] === a) {
        codes.add(i >>> 2);
        break;
      }
    }
  }
  const rows: number[] = [];
  const { trace } = data.perRow;
  if (codes.size > 0) {
    for (let row = 0; row < data.rows; row++) if (codes.has(trace[row])) rows.push(row);
  }
  return new HeadBatch(data, Uint32Array.from(rows));
}

interface Words {
  high: number;
  low: number;
}

/** Earliest and latest start and latest end as signed 64-bit word pairs. */
class TimeBounds {
  readonly min: Words = { high: 0x7fff_ffff, low: 0xffff_ffff };
  readonly max: Words = { high: -0x8000_0000, low: 0 };
  readonly end: Words = { high: -0x8000_0000, low: 0 };

  extend(start: Uint32Array, end: Uint32Array, from: number, to: number): void {
    for (let row = from; row < to; row++) {
      const low = start[row * 2];
      const high = start[row * 2 + 1] | 0;
      if (isLess(high, low, this.min)) assign(this.min, high, low);
      if (!isLess(high, low, this.max)) assign(this.max, high, low);
      const endLow = end[row * 2];
      const endHigh = end[row * 2 + 1] | 0;
      // A span that ends before it starts ends where it starts.
      if (!isLess(high, low, this.end)) assign(this.end, high, low);
      const backwards = endHigh < high || (endHigh === high && endLow < low);
      if (!backwards && !isLess(endHigh, endLow, this.end)) assign(this.end, endHigh, endLow);
    }
  }
}

function isLess(high: number, low: number, than: Words): boolean {
  return high < than.high || (high === than.high && low < than.low);
}

function assign(words: Words, high: number, low: number): void {
  words.high = high;
  words.low = low;
}

function nano({ high, low }: Words): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}
