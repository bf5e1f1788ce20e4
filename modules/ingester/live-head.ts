/**
 * One tenant's head in one partition: spans, their log range and their time range.
 */
import { randomBytes } from "node:crypto";
import { Head, HeadBatch, type HeadData, HeadDecoder } from "#pkg/columns/columns.ts";
import {
  type AttributeLimits,
  cutAttributes,
  type CutRecord,
  hasAttributeLimits,
  mayExceedLimits,
} from "#pkg/otlp/otlp.ts";
import type { LogRecord } from "#pkg/spanlog/spanlog.ts";
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
  /** Number of queries that pin it. */
  pinCount = 0;
  readonly #decoder: HeadDecoder;
  readonly #times = new TimeBounds();

  constructor(id: number, tenant: string, fromOffset: number, openedMs: number) {
    this.id = id;
    this.tenant = tenant;
    this.fromOffset = fromOffset;
    this.toOffset = fromOffset;
    this.openedMs = openedMs;
    this.head = new Head(randomBytes(4).readInt32LE());
    this.#decoder = new HeadDecoder(this.head);
  }

  /**
   * Appends a record's spans, with attributes cut to the limits. Returns the number of spans and
   * the cuts. Throws Undecodable; no span is appended then.
   *
   * Attributes are cut here and not on ingest. This thread reads every field anyway, the log keeps
   * the attributes as received, and the main thread need not re-encode messages.
   */
  append(
    { offset, bytes, appendedMs }: Pick<LogRecord, "offset" | "bytes" | "appendedMs">,
    limits: AttributeLimits,
  ): { spans: number; cut: CutRecord | undefined } {
    const before = this.head.rows;
    this.toOffset = offset + 1;
    const { spans, cut } = this.#decode(bytes, offset, limits);
    const { start, end } = this.head.rowArrays;
    this.#times.extend(start.values, end.values, before, this.head.rows);
    if (this.firstAppendedMs === 0) this.firstAppendedMs = appendedMs;
    this.lastAppendedMs = Math.max(this.lastAppendedMs, appendedMs);
    return { spans, cut };
  }

  #decode(
    record: Uint8Array,
    offset: number,
    limits: AttributeLimits,
  ): { spans: number; cut: CutRecord | undefined } {
    try {
      const isOver = hasAttributeLimits(limits) && mayExceedLimits(record, limits);
      const cut = isOver ? cutAttributes(record, limits) : undefined;
      return { spans: this.#decoder.decode(cut?.record ?? record), cut };
    } catch (cause) {
      if (isOutOfMemory(cause)) throw cause;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Undecodable(`decode record ${offset} of tenant ${this.tenant}: ${why}`, { cause });
    }
  }

  /** Returns the head's current content; records appended later do not change it. */
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

/** Thrown for a record that passed the splitter but does not decode. The thread skips it. */
export class Undecodable extends Error {}

/** Returns whether allocation failed. Such an error is temporary and not the record's fault. */
function isOutOfMemory(error: unknown): boolean {
  return error instanceof RangeError && /allocation failed|invalid .*array/i.test(error.message);
}

/** The content of a head at the time when a query pinned it. */
export interface PinnedData {
  data: HeadData;
  info: HeadInfo;
}

/** Returns all spans of a pinned head. */
export function allSpans({ data }: PinnedData): HeadBatch {
  const rows = new Uint32Array(data.rows);
  for (let row = 0; row < rows.length; row++) rows[row] = row;
  return new HeadBatch(data, rows);
}

/** Returns the spans of some traces (16 bytes per id) of a pinned head. */
export function spansOfTraces({ data }: PinnedData, ids: Uint8Array): HeadBatch {
  const asked = markTraces(data.traceIds, ids);
  const rows: number[] = [];
  const { trace } = data.perRow;
  if (asked !== undefined) {
    for (let row = 0; row < data.rows; row++) if (asked[trace[row]] === 1) rows.push(row);
  }
  return new HeadBatch(data, Uint32Array.from(rows));
}

/**
 * Returns an array with 1 at the code of each requested id, undefined if the head has none of them.
 * `words` has four big-endian words per id, in the order of codes.
 */
function markTraces(words: Uint32Array, ids: Uint8Array): Uint8Array | undefined {
  // Keyed by the last word, which is random even in zero-padded 64-bit ids.
  const asked = new Map<number, number[]>();
  const view = new DataView(ids.buffer, ids.byteOffset, ids.byteLength);
  for (let at = 0; at + 16 <= ids.length; at += 16) {
    const places = asked.get(view.getUint32(at + 12));
    if (places === undefined) asked.set(view.getUint32(at + 12), [at]);
    else places.push(at);
  }
  const marks = new Uint8Array(words.length >>> 2);
  for (let i = 0; i < words.length; i += 4) {
    const places = asked.get(words[i + 3]);
    const isAsked = places?.some(
      (at) =>
        words[i + 2] === view.getUint32(at + 8) &&
        words[i + 1] === view.getUint32(at + 4) &&
        words[i] === view.getUint32(at),
    );
    if (isAsked === true) marks[i >>> 2] = 1;
  }
  return marks.includes(1) ? marks : undefined;
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
      // A span that ends before it starts counts as ending at its start.
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
