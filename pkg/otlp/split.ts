// HOT: runs per span received; measured by `npm run bench` (split).
/**
 * Splits an ExportTraceServiceRequest by trace id into one request (record) per partition. It works
 * on the wire bytes: it finds, checks and copies every span as a byte range, without an object per
 * span.
 *
 * - The whole request is checked first (wire-check.ts). Bytes that do not parse are InvalidInput
 *   and nothing is kept. A span with an invalid id is dropped alone and counted.
 * - A partition's record has the envelopes (resource, scope, schema URLs, unknown fields) of its
 *   spans, copied unchanged, so repeated singular fields still merge as in protobuf.
 * - If all spans are valid and in one partition, the record is `body` itself, not a copy.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import { wireBytes, WireReader } from "#pkg/bytes/bytes.ts";
import { writeRecord } from "./split-record.ts";
import { SplitScratch } from "./split-scratch.ts";
import { partitionOf, traceIdBytes } from "./trace-hash.ts";
import {
  capturedSlots,
  checkMessage,
  messageResource,
  messageScope,
  messageSpan,
} from "./wire-check.ts";

export type RejectReason = "invalid_trace_id" | "invalid_span_id" | "invalid_parent_span_id";

export interface SplitOptions {
  /** A power of two, at most `partitionCountMax`. */
  partitionCount: number;
  /** Memory to reuse between calls. Not for concurrent calls. */
  scratch?: SplitScratch;
}

/** The spans of one partition. */
export interface SplitPart {
  partition: number;
  /** An ExportTraceServiceRequest. May be `body` itself, so the caller must not reuse `body`. */
  record: Uint8Array;
  spanCount: number;
}

export interface SplitRejection {
  reason: RejectReason;
  spanCount: number;
  /** A description of the first rejected span's error, for people. */
  example: string;
}

export interface SplitResult {
  /** Ascending by partition; only partitions with spans. */
  parts: SplitPart[];
  /** Spans in `parts`. */
  acceptedSpans: number;
  rejectedSpans: number;
  /** One entry per reason that occurred. */
  rejections: SplitRejection[];
  /** Total bytes of all records. */
  recordBytes: number;
}

export const partitionCountMax = 1024;

/** Records repeat envelopes. Limits their total size to this factor of the request's size. */
const growthFactorMax = 8;
const growthFreeBytes = 1024 * 1024;

const tagOne = (1 << 3) | wireBytes;
const tagTwo = (2 << 3) | wireBytes;
const tagThree = (3 << 3) | wireBytes;

/**
 * Splits a request. Throws InvalidInput for bytes that do not parse, and TooLarge if the records
 * would be much larger than the request (large envelopes repeated in many partitions).
 */
export function splitRequest(body: Uint8Array, options: SplitOptions): SplitResult {
  const { partitionCount, scratch = new SplitScratch() } = options;
  const isPower = (partitionCount & (partitionCount - 1)) === 0;
  if (!(partitionCount >= 1 && partitionCount <= partitionCountMax && isPower)) {
    throw new SpoorError("Internal", `cannot split into ${partitionCount} partitions`);
  }
  scratch.clear();
  const buf = new Uint8Array(body.buffer, body.byteOffset, body.length);
  const scan = new Scan(buf, partitionCount, scratch);
  scan.request();
  const { rejections, rejectedSpans } = scan;
  const acceptedSpans = scratch.spanStart.length;
  const parts =
    acceptedSpans === 0 ? [] : buildParts(body, buf, scratch, { partitionCount, rejectedSpans });
  let recordBytes = 0;
  for (const part of parts) recordBytes += part.record.length;
  return { parts, acceptedSpans, rejectedSpans, rejections, recordBytes };
}

interface PartsInput {
  partitionCount: number;
  rejectedSpans: number;
}

function buildParts(
  body: Uint8Array,
  buf: Uint8Array,
  scratch: SplitScratch,
  { partitionCount, rejectedSpans }: PartsInput,
): SplitPart[] {
  const spanCount = scratch.spanStart.length;
  const ends = groupByPartition(scratch, partitionCount);
  const first = scratch.spanPartition.values[0];
  if (rejectedSpans === 0 && ends[first] - (first === 0 ? 0 : ends[first - 1]) === spanCount) {
    return [{ partition: first, record: body, spanCount }];
  }
  const parts: SplitPart[] = [];
  let leftBytes = body.length * growthFactorMax + growthFreeBytes;
  let from = 0;
  for (let partition = 0; partition < partitionCount; partition++) {
    const to = ends[partition];
    if (to === from) continue;
    const record = writeRecord(buf, scratch, { from, to, bytesMax: leftBytes });
    leftBytes -= record.length;
    parts.push({ partition, record, spanCount: to - from });
    from = to;
  }
  return parts;
}

/** Sorts the span indexes by partition into `order`. Returns the end of each partition's part. */
function groupByPartition(scratch: SplitScratch, partitionCount: number): Int32Array {
  const count = scratch.spanStart.length;
  const partitions = scratch.spanPartition.values;
  const next = new Int32Array(partitionCount + 1);
  for (let i = 0; i < count; i++) next[partitions[i] + 1]++;
  for (let p = 0; p < partitionCount; p++) next[p + 1] += next[p];
  scratch.order.resize(count);
  const order = scratch.order.values;
  for (let i = 0; i < count; i++) order[next[partitions[i]]++] = i;
  return next.subarray(0, partitionCount);
}

/** One pass over a request: fills the scratch and counts rejections. */
class Scan {
  readonly rejections: SplitRejection[] = [];
  rejectedSpans = 0;
  #buf: Uint8Array;
  #partitionCount: number;
  #scratch: SplitScratch;
  #reader: WireReader;
  #slow: WireReader;
  #captured: Int32Array = new Int32Array(capturedSlots);

  constructor(buf: Uint8Array, partitionCount: number, scratch: SplitScratch) {
    this.#buf = buf;
    this.#partitionCount = partitionCount;
    this.#scratch = scratch;
    this.#reader = new WireReader(buf);
    this.#slow = new WireReader(buf);
  }

  request(): void {
    const reader = this.#reader;
    while (reader.pos < reader.end) {
      const tag = reader.tag();
      if (tag === tagOne) this.#resourceSpans(reader.lengthEnd());
      else if (tag >>> 3 === 1) reader.fail(`resource_spans has wire type ${tag & 7}`);
      else reader.skip(tag);
    }
  }

  #resourceSpans(end: number): void {
    const reader = this.#reader;
    const { resourceRanges, resourceRangeFrom, resourceRangeTo, spanStart } = this.#scratch;
    const outerEnd = reader.end;
    const rangesBefore = resourceRanges.length;
    const spansBefore = spanStart.length;
    reader.end = end;
    let rangeStart = reader.pos;
    while (reader.pos < end) {
      const fieldStart = reader.pos;
      const tag = reader.tag();
      if (tag === tagTwo) {
        pushRange(resourceRanges, rangeStart, fieldStart);
        this.#scopeSpans(reader.lengthEnd());
        rangeStart = reader.pos;
      } else this.#envelopeField(tag, messageResource);
    }
    reader.end = outerEnd;
    if (spanStart.length === spansBefore) {
      resourceRanges.length = rangesBefore;
      return;
    }
    pushRange(resourceRanges, rangeStart, end);
    resourceRangeFrom.push(rangesBefore);
    resourceRangeTo.push(resourceRanges.length);
  }

  #scopeSpans(end: number): void {
    const reader = this.#reader;
    const scratch = this.#scratch;
    const { scopeRanges, spanStart } = scratch;
    const outerEnd = reader.end;
    const rangesBefore = scopeRanges.length;
    const spansBefore = spanStart.length;
    reader.end = end;
    let rangeStart = reader.pos;
    while (reader.pos < end) {
      const fieldStart = reader.pos;
      const tag = reader.tag();
      if (tag === tagTwo) {
        if (fieldStart > rangeStart) pushRange(scopeRanges, rangeStart, fieldStart);
        this.#span(fieldStart, reader.lengthEnd());
        rangeStart = reader.pos;
      } else this.#envelopeField(tag, messageScope);
    }
    reader.end = outerEnd;
    if (spanStart.length === spansBefore) {
      scopeRanges.length = rangesBefore;
      return;
    }
    pushRange(scopeRanges, rangeStart, end);
    scratch.scopeResource.push(scratch.resourceRangeFrom.length);
    scratch.scopeRangeFrom.push(rangesBefore);
    scratch.scopeRangeTo.push(scopeRanges.length);
  }

  /** Checks a field of ResourceSpans or ScopeSpans, not field 2; `first` is the type of field 1. */
  #envelopeField(tag: number, first: number): void {
    const reader = this.#reader;
    if (tag === tagOne) {
      const end = reader.lengthEnd();
      checkMessage(this.#buf, reader.pos, end, first, 0, this.#captured, this.#slow);
      reader.pos = end;
    } else if (tag === tagThree || tag >>> 3 > 3) reader.skip(tag);
    else reader.fail(`envelope field ${tag >>> 3} has wire type ${tag & 7}`);
  }

  #span(fieldStart: number, end: number): void {
    const captured = this.#captured;
    const buf = this.#buf;
    captured.fill(0);
    checkMessage(buf, this.#reader.pos, end, messageSpan, 0, captured, this.#slow);
    this.#reader.pos = end;
    const parentBytes = captured[9];
    if (captured[3] !== traceIdBytes || isZero(buf, captured[2], traceIdBytes)) {
      this.#reject("invalid_trace_id", 2, "trace id", traceIdBytes);
    } else if (captured[5] !== 8 || isZero(buf, captured[4], 8)) {
      this.#reject("invalid_span_id", 4, "span id", 8);
    } else if (parentBytes !== 0 && parentBytes !== 8) {
      this.#reject("invalid_parent_span_id", 8, "parent span id", 8);
    } else {
      const scratch = this.#scratch;
      scratch.spanStart.push(fieldStart);
      scratch.spanEnd.push(end);
      scratch.spanScope.push(scratch.scopeResource.length);
      scratch.spanPartition.push(partitionOf(buf, captured[2], this.#partitionCount));
    }
  }

  #reject(reason: RejectReason, slot: number, what: string, wantBytes: number): void {
    this.rejectedSpans++;
    const known = this.rejections.find((one) => one.reason === reason);
    if (known !== undefined) {
      known.spanCount++;
      return;
    }
    const bytes = this.#captured[slot + 1];
    const example =
      bytes === wantBytes ? `${what} is all zero` : `${what} has ${bytes} bytes, not ${wantBytes}`;
    this.rejections.push({ reason, spanCount: 1, example });
  }
}

function pushRange(ranges: SplitScratch["scopeRanges"], start: number, end: number): void {
  if (start === end) return;
  ranges.push(start);
  ranges.push(end);
}

function isZero(buf: Uint8Array, start: number, length: number): boolean {
  for (let i = start; i < start + length; i++) if (buf[i] !== 0) return false;
  return true;
}
