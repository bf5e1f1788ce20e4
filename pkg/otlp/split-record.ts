// HOT: runs per span; measured by `npm run bench` (split).
/**
 * Writes the record of one partition in two passes: sizes first (protobuf puts lengths before
 * contents), then bytes. Both passes walk `scratch.order[from..to)`, which is grouped by resource
 * and by scope.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import { varintSize } from "#pkg/bytes/bytes.ts";
import type { IntList, SplitScratch } from "./split-scratch.ts";

export interface RecordRange {
  /** Part of `scratch.order`. */
  from: number;
  to: number;
  bytesMax: number;
}

/** Returns a new ExportTraceServiceRequest. Throws TooLarge if it would exceed `bytesMax`. */
export function writeRecord(
  buf: Uint8Array,
  scratch: SplitScratch,
  { from, to, bytesMax }: RecordRange,
): Uint8Array {
  const sizeBytes = measureRecord(scratch, from, to);
  if (sizeBytes > bytesMax) {
    throw new SpoorError(
      "TooLarge",
      `resources and scopes repeated in partitions exceed ${bytesMax} bytes: send smaller requests`,
      {
        reason: "envelope_growth",
      },
    );
  }
  const out = Buffer.allocUnsafeSlow(sizeBytes);
  const source = Buffer.from(buf.buffer, buf.byteOffset, buf.length);
  const written = fillRecord(source, scratch, from, to, out);
  if (written !== sizeBytes) {
    throw new SpoorError("Internal", `record of ${sizeBytes} bytes was filled to ${written}`);
  }
  return out;
}

/** Fills `scopeBytes` and `resourceBytes`; returns the size of the record. */
function measureRecord(scratch: SplitScratch, from: number, to: number): number {
  const { scopeBytes, resourceBytes } = scratch;
  const order = scratch.order.values;
  const spanScope = scratch.spanScope.values;
  const spanStart = scratch.spanStart.values;
  const spanEnd = scratch.spanEnd.values;
  const scopeResource = scratch.scopeResource.values;
  scopeBytes.length = 0;
  resourceBytes.length = 0;
  let total = 0;
  let i = from;
  while (i < to) {
    const resource = scopeResource[spanScope[order[i]]];
    let bytes = rangeBytes(
      scratch.resourceRanges,
      scratch.resourceRangeFrom.values[resource],
      scratch.resourceRangeTo.values[resource],
    );
    while (i < to && scopeResource[spanScope[order[i]]] === resource) {
      const scope = spanScope[order[i]];
      let inner = rangeBytes(
        scratch.scopeRanges,
        scratch.scopeRangeFrom.values[scope],
        scratch.scopeRangeTo.values[scope],
      );
      while (i < to && spanScope[order[i]] === scope) {
        inner += spanEnd[order[i]] - spanStart[order[i]];
        i++;
      }
      scopeBytes.push(inner);
      bytes += 1 + varintSize(inner) + inner;
    }
    resourceBytes.push(bytes);
    total += 1 + varintSize(bytes) + bytes;
  }
  return total;
}

function fillRecord(
  source: Buffer,
  scratch: SplitScratch,
  from: number,
  to: number,
  out: Buffer,
): number {
  const order = scratch.order.values;
  const spanScope = scratch.spanScope.values;
  const scopeResource = scratch.scopeResource.values;
  let pos = 0;
  let scopeRun = 0;
  let resourceRun = 0;
  let i = from;
  while (i < to) {
    const resource = scopeResource[spanScope[order[i]]];
    pos = writeHead(out, pos, 0x0a, scratch.resourceBytes.values[resourceRun++]);
    const resourceTo = scratch.resourceRangeTo.values[resource];
    const { resourceRanges, scopeRanges } = scratch;
    pos = copyRanges(
      source,
      resourceRanges,
      scratch.resourceRangeFrom.values[resource],
      resourceTo,
      out,
      pos,
    );
    while (i < to && scopeResource[spanScope[order[i]]] === resource) {
      const scope = spanScope[order[i]];
      pos = writeHead(out, pos, 0x12, scratch.scopeBytes.values[scopeRun++]);
      const scopeTo = scratch.scopeRangeTo.values[scope];
      pos = copyRanges(
        source,
        scopeRanges,
        scratch.scopeRangeFrom.values[scope],
        scopeTo,
        out,
        pos,
      );
      const runStart = i;
      while (i < to && spanScope[order[i]] === scope) i++;
      pos = copySpans(source, scratch, runStart, i, out, pos);
    }
  }
  return pos;
}

/** Copies spans; copies runs that are contiguous in the request at once. */
function copySpans(
  source: Buffer,
  scratch: SplitScratch,
  from: number,
  to: number,
  out: Buffer,
  start: number,
): number {
  const order = scratch.order.values;
  const spanStart = scratch.spanStart.values;
  const spanEnd = scratch.spanEnd.values;
  let pos = start;
  let i = from;
  while (i < to) {
    const first = spanStart[order[i]];
    let end = spanEnd[order[i++]];
    while (i < to && spanStart[order[i]] === end) end = spanEnd[order[i++]];
    source.copy(out, pos, first, end);
    pos += end - first;
  }
  return pos;
}

function copyRanges(
  source: Buffer,
  ranges: IntList,
  from: number,
  to: number,
  out: Buffer,
  start: number,
): number {
  let pos = start;
  for (let i = from; i < to; i += 2) {
    source.copy(out, pos, ranges.values[i], ranges.values[i + 1]);
    pos += ranges.values[i + 1] - ranges.values[i];
  }
  return pos;
}

function rangeBytes(ranges: IntList, from: number, to: number): number {
  let bytes = 0;
  for (let i = from; i < to; i += 2) bytes += ranges.values[i + 1] - ranges.values[i];
  return bytes;
}

function writeHead(out: Uint8Array, start: number, tag: number, length: number): number {
  let pos = start;
  out[pos++] = tag;
  let rest = length;
  while (rest > 0x7f) {
    out[pos++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[pos++] = rest;
  return pos;
}
