/**
 * Opening one partition: reads all of its segments, checks every record, cuts off a torn tail,
 * reports damage, and rebuilds the retry memory.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  decodeSegmentHeader,
  parseSegmentName,
  recordAppendedMs,
  recordHash,
  recordOffset,
  SEGMENT_HEADER_BYTES,
  segmentName,
  segmentSeed,
} from "./format.ts";
import { errorText, partitionFolder, reportDamage, type LogContext } from "./log-context.ts";
import type { LogFile } from "./log-fs.ts";
import { RetryMemory } from "./retry-memory.ts";
import { isSidecarName, readSidecar, type Sidecar } from "./retry-sidecar.ts";
import { SegmentWalker } from "./segment-walker.ts";
import { SegmentWriter, type Segment } from "./segment-writer.ts";
import { readTrimState, type TrimState } from "./state-file.ts";

export interface RecoveredPartition {
  writer: SegmentWriter;
  memory: RetryMemory;
  durableEnd: number;
  trim: { state: TrimState; sidecars: Sidecar[] };
}

interface Scan {
  header: "valid" | "short" | "damaged";
  /** The offset after the last valid record. */
  endOffset: number;
  cleanBytes: number;
  fileBytes: number;
}

interface Recovery {
  context: LogContext;
  partition: number;
  folder: string;
  trim: TrimState;
  memory: RetryMemory;
}

/** How much is read and checked before the event loop gets a turn: some 2 ms. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** Corrupt if nothing tells which offsets were used: then none may be given out. */
export async function recoverPartition(
  context: LogContext,
  partition: number,
): Promise<RecoveredPartition> {
  const { bounds, fs } = context;
  const folder = partitionFolder(context.dir, partition);
  const names = await listFolder(context, folder);
  for (const name of names) if (name.endsWith(".tmp")) await fs.unlink(`${folder}/${name}`);
  const firsts = segmentFirsts(names);
  if (firsts.length === 0) throw noSegments(folder);
  const memory = new RetryMemory({
    windowMs: bounds.retryWindowMs,
    entriesMax: bounds.retryEntriesMax,
  });
  const trim = recoverTrimState(context, partition, firsts[0]);
  const recovery: Recovery = { context, partition, folder, trim, memory };
  const sidecars = await recoverSidecars(recovery, names);
  const { segments, lastScan } = await scanSegments(recovery, firsts);
  return openEnd(recovery, sidecars, segments, lastScan);
}

/** First offsets of the segments in a folder's names, ascending. */
export function segmentFirsts(names: readonly string[]): number[] {
  return names
    .map(parseSegmentName)
    .filter((first) => first >= 0)
    .sort((a, b) => a - b);
}

async function listFolder(context: LogContext, folder: string): Promise<string[]> {
  try {
    return await context.fs.readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw noSegments(folder);
    throw new SpoorError("Unavailable", `list ${folder}: ${errorText(error)}`, { cause: error });
  }
}

function noSegments(folder: string): SpoorError {
  return new SpoorError(
    "Corrupt",
    `open ${folder}: all segments are gone, so used offsets are unknown; ` +
      `move the log's folder away to begin a new log`,
    { reason: "log_segments_missing" },
  );
}

function recoverTrimState(context: LogContext, partition: number, first: number): TrimState {
  try {
    const state = readTrimState(partitionFolder(context.dir, partition));
    return state ?? { trimmedTo: 0, committed: new Map() };
  } catch (error) {
    if (!(error instanceof SpoorError) || error.code !== "Corrupt") throw error;
    const { message } = error;
    const place = { partition, fromOffset: first, toOffset: first };
    reportDamage(context, { kind: "trim_state", ...place, message });
    return { trimmedTo: first, committed: new Map() };
  }
}

async function recoverSidecars(recovery: Recovery, names: string[]): Promise<Sidecar[]> {
  const { context, folder, memory, partition } = recovery;
  const nowMs = context.clock.nowMs();
  const kept: Sidecar[] = [];
  for (const name of names.filter(isSidecarName).sort()) {
    const sidecar = readSidecar(folder, name);
    if (sidecar === undefined) {
      const message = `${folder}/${name} is damaged: retries of its records will be appended again`;
      const place = { partition, fromOffset: 0, toOffset: 0 };
      reportDamage(context, { kind: "retry_memory", ...place, message });
    } else if (Math.abs(nowMs - sidecar.newestMs) < context.bounds.retryWindowMs) {
      memory.addEncoded(sidecar.entries, nowMs);
      kept.push({ name, newestMs: sidecar.newestMs });
      continue;
    }
    await context.fs.unlink(`${folder}/${name}`);
  }
  return kept;
}

async function scanSegments(
  recovery: Recovery,
  firsts: readonly number[],
): Promise<{ segments: Segment[]; lastScan: Scan }> {
  const walker = new SegmentWalker();
  const segments: Segment[] = [];
  let lastScan: Scan = { header: "short", endOffset: 0, cleanBytes: 0, fileBytes: 0 };
  let expected = recovery.trim.trimmedTo;
  for (const [index, first] of firsts.entries()) {
    if (first > expected) reportLost(recovery, expected, first, "a segment is missing or damaged");
    const limit = firsts[index + 1] ?? Number.MAX_SAFE_INTEGER;
    lastScan = await scanSegment(recovery, walker, first, limit);
    expected = Math.max(first, lastScan.endOffset);
    segments.push({ firstOffset: first, bytes: lastScan.fileBytes });
  }
  return { segments, lastScan };
}

async function scanSegment(
  recovery: Recovery,
  walker: SegmentWalker,
  first: number,
  limit: number,
): Promise<Scan> {
  const { context, folder, memory, partition } = recovery;
  const path = `${folder}/${segmentName(first)}`;
  const nowMs = context.clock.nowMs();
  const fd = openSync(path, "r");
  try {
    const header = checkSegmentHeader(recovery, fd, first);
    walker.start(fd, segmentSeed(context.logId, partition, first), first);
    let expected = first;
    for (;;) {
      walker.fill(WINDOW_BYTES, limit);
      let step = walker.next();
      for (; step === "record"; step = walker.next()) {
        const { buffer, recordPos } = walker;
        const offset = recordOffset(buffer, recordPos);
        if (offset > expected) reportLost(recovery, expected, offset, `${path} is damaged`);
        expected = offset + 1;
        memory.add(
          recordHash(buffer, recordPos),
          offset,
          recordAppendedMs(buffer, recordPos),
          nowMs,
        );
      }
      if (step === "end") break;
      await new Promise(setImmediate);
    }
    const { cleanBytes, fileBytes } = walker;
    return { header, endOffset: expected, cleanBytes, fileBytes };
  } finally {
    closeSync(fd);
  }
}

/** A damaged header loses nothing: all that it says is known from the name and `log.json`. */
function checkSegmentHeader(recovery: Recovery, fd: number, first: number): Scan["header"] {
  const { context, folder, partition } = recovery;
  const path = `${folder}/${segmentName(first)}`;
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  const count = readSync(fd, bytes, 0, SEGMENT_HEADER_BYTES, 0);
  if (count < SEGMENT_HEADER_BYTES) return "short";
  const header = decodeSegmentHeader(bytes, path);
  if (header === undefined) {
    const place = { partition, fromOffset: first, toOffset: first };
    const message = `${path} has a damaged header`;
    reportDamage(context, { kind: "segment_header", ...place, message });
    return "damaged";
  }
  const { logId } = context;
  if (header.logId === logId && header.partition === partition && header.firstOffset === first) {
    return "valid";
  }
  throw new SpoorError(
    "Corrupt",
    `open ${path}: it is segment ${header.firstOffset} of partition ${header.partition} ` +
      `of log ${header.logId}`,
    { reason: "log_foreign_segment" },
  );
}

/** What was trimmed is not missed. */
function reportLost(recovery: Recovery, from: number, to: number, why: string): void {
  const fromOffset = Math.max(from, recovery.trim.trimmedTo);
  if (fromOffset >= to) return;
  const { context, folder, partition } = recovery;
  const message = `${folder} lost the records from ${fromOffset} up to ${to}: ${why}`;
  reportDamage(context, { kind: "lost_records", partition, fromOffset, toOffset: to, message });
}

/** Makes the end of the log fit for appending. */
async function openEnd(
  recovery: Recovery,
  sidecars: Sidecar[],
  segments: Segment[],
  lastScan: Scan,
): Promise<RecoveredPartition> {
  const { context, folder, memory, partition, trim } = recovery;
  const last = segments.at(-1)!;
  let file: LogFile | undefined;
  if (lastScan.header === "valid") {
    file = await openForAppend(context, `${folder}/${segmentName(last.firstOffset)}`, lastScan);
    last.bytes = lastScan.cleanBytes;
  } else if (lastScan.endOffset === last.firstOffset) {
    await replaceEmptySegment(recovery, last, lastScan);
    segments.pop();
  } else await syncRecords(context, `${folder}/${segmentName(last.firstOffset)}`);
  await context.fs.syncDir(folder);
  for (const segment of segments) context.counters.bytes += segment.bytes;
  const writer = new SegmentWriter(context, partition, segments, file);
  let floor = trim.trimmedTo;
  for (const offset of trim.committed.values()) floor = Math.max(floor, offset);
  const durableEnd = Math.max(lastScan.endOffset, floor);
  if (lastScan.endOffset < floor) {
    const place = { partition, fromOffset: lastScan.endOffset, toOffset: floor };
    const message = `${folder} ends before what was committed from it`;
    reportDamage(context, { kind: "trim_state", ...place, message });
  }
  if (file === undefined || lastScan.endOffset < floor) await writer.startSegment(durableEnd);
  return { writer, memory, durableEnd, trim: { state: trim, sidecars } };
}

/**
 * What was read may be in the page cache only, if the process before this one was killed between
 * write and sync. From now on it counts as durable, a repeat of it is answered: so it is synced.
 */
async function openForAppend(context: LogContext, path: string, scan: Scan): Promise<LogFile> {
  const file = await context.fs.open(path, false);
  const tornBytes = scan.fileBytes - scan.cleanBytes;
  try {
    if (tornBytes > 0) {
      context.log.warn({ path, tornBytes }, "unfinished write at the end of the log was cut off");
      context.counters.truncatedTailsTotal++;
      await file.truncate(scan.cleanBytes);
    }
    await file.datasync();
  } catch (error) {
    await file.close();
    throw error;
  }
  return file;
}

/** The same for a segment that is not written to any more. */
async function syncRecords(context: LogContext, path: string): Promise<void> {
  const file = await context.fs.open(path, false);
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** The name is needed for a good segment. What is longer than half a header is kept to look at. */
async function replaceEmptySegment(recovery: Recovery, last: Segment, scan: Scan): Promise<void> {
  const { context, folder } = recovery;
  const path = `${folder}/${segmentName(last.firstOffset)}`;
  if (scan.header === "short") {
    context.log.warn({ path }, "unfinished segment at the end of the log was replaced");
    context.counters.truncatedTailsTotal++;
  } else await context.fs.copy(path, `${path}.damaged`);
}
