/**
 * Recovers one partition when the log is opened: reads all of its segments, checks every record,
 * truncates a torn tail, reports damage, and rebuilds the retry memory.
 */
import { closeSync, readSync, statSync } from "node:fs";
import { SpoorError } from "#pkg/errors/errors.ts";
import { openRegularFile } from "#pkg/files/files.ts";
import {
  decodeSegmentHeader,
  recordHash,
  recordOffset,
  SEGMENT_HEADER_BYTES,
  type SegmentId,
  segmentName,
  segmentSeed,
} from "./format.ts";
import { FormerSegments } from "./former-segments.ts";
import { errorText, partitionFolder, reportDamage, type LogContext } from "./log-context.ts";
import { RetryMemory } from "./retry-memory.ts";
import { isSidecarName, readSidecar, type Sidecar } from "./retry-sidecar.ts";
import type { TrimStart } from "./partition-trim.ts";
import { SegmentWalker } from "./segment-walker.ts";
import { listSegments } from "./segments.ts";
import { SegmentWriter, type Segment } from "./segment-writer.ts";
import { readTrimState, type TrimState, trimStateAt } from "./state-file.ts";

export interface RecoveredPartition {
  writer: SegmentWriter;
  memory: RetryMemory;
  durableEnd: number;
  trim: TrimStart;
}

interface Scan {
  header: "valid" | "short" | "damaged";
  /** The offset after the last valid record. */
  endOffset: number;
  cleanBytes: number;
  fileBytes: number;
}

interface ScannedSegment extends Segment {
  /** End of the bytes that were written before a take-over. */
  knownBytes: number;
}

interface Recovery {
  context: LogContext;
  partition: number;
  folder: string;
  trim: TrimState;
  memory: RetryMemory;
}

/** Bytes that are read and checked per turn of the event loop: about 2 ms. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** Recovers a partition. Throws Corrupt if the used offsets are unknown, as none is safe to use. */
export async function recoverPartition(
  context: LogContext,
  partition: number,
): Promise<RecoveredPartition> {
  const { bounds, fs } = context;
  const folder = partitionFolder(context.dir, partition);
  const names = await listFolder(context, folder);
  for (const name of names) if (name.endsWith(".tmp")) await fs.unlink(`${folder}/${name}`);
  const { live, fenced } = listSegments(names);
  if (live.length === 0) throw noSegments(folder);
  const memory = new RetryMemory({
    windowMs: bounds.retryWindowMs,
    entriesMax: bounds.retryEntriesMax,
  });
  const trim = recoverTrimState(context, partition, live[0].firstOffset);
  const recovery: Recovery = { context, partition, folder, trim, memory };
  const sidecars = await recoverSidecars(recovery, names);
  const { segments, lastScan } = await scanSegments(recovery, live);
  if (live.some(({ owner }) => owner === 0) || sidecars.some(({ version }) => version === 1)) {
    context.oldHashesUntilMs = context.clock.monotonicMs() + bounds.retryWindowMs;
  }
  const end = await openEnd(recovery, segments, lastScan);
  const known = new Map(segments.map((segment) => [segmentName(segment), segment.knownBytes]));
  const former = new FormerSegments(context, partition, known);
  // Reports records that a former owner wrote after an earlier take-over.
  await former.check();
  await setAside(recovery, fenced);
  return { ...end, memory, trim: { state: trim, sidecars, former } };
}

/** Renames fenced segments for inspection, and deletes empty ones. */
async function setAside(
  { context, folder }: Recovery,
  fenced: readonly SegmentId[],
): Promise<void> {
  for (const id of fenced) {
    const path = `${folder}/${segmentName(id)}`;
    const { size } = statSync(path);
    if (size > SEGMENT_HEADER_BYTES) await context.fs.rename(path, `${path}.fenced`);
    else await context.fs.unlink(path);
  }
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
    return state ?? trimStateAt(0, new Map());
  } catch (error) {
    if (!(error instanceof SpoorError) || error.code !== "Corrupt") throw error;
    const { message } = error;
    const place = { partition, fromOffset: first, toOffset: first };
    reportDamage(context, { kind: "trim_state", ...place, message });
    return trimStateAt(first, new Map());
  }
}

async function recoverSidecars(recovery: Recovery, names: string[]): Promise<Sidecar[]> {
  const { context, folder, memory, partition } = recovery;
  const nowMs = context.clock.monotonicMs();
  const kept: Sidecar[] = [];
  for (const name of names.filter(isSidecarName).sort()) {
    const sidecar = readSidecar(folder, name);
    if (sidecar === undefined) {
      const message = `${folder}/${name} is damaged: retries of its records will be appended again`;
      const place = { partition, fromOffset: 0, toOffset: 0 };
      reportDamage(context, { kind: "retry_memory", ...place, message });
      await context.fs.unlink(`${folder}/${name}`);
    } else {
      memory.recoverEncoded(sidecar.entries, nowMs);
      kept.push({ name, lastOffset: sidecar.lastOffset, version: sidecar.version });
    }
  }
  return kept;
}

async function scanSegments(
  recovery: Recovery,
  live: readonly SegmentId[],
): Promise<{ segments: ScannedSegment[]; lastScan: Scan }> {
  const walker = new SegmentWalker();
  const segments: ScannedSegment[] = [];
  let lastScan: Scan = { header: "short", endOffset: 0, cleanBytes: 0, fileBytes: 0 };
  let expected = recovery.trim.trimmedTo;
  for (const [index, id] of live.entries()) {
    const first = id.firstOffset;
    if (first > expected) reportLost(recovery, expected, first, "a segment is missing or damaged");
    const limit = live[index + 1]?.firstOffset ?? Number.MAX_SAFE_INTEGER;
    lastScan = await scanSegment(recovery, walker, id, limit);
    expected = Math.max(first, lastScan.endOffset);
    // Records after an owner's own next segment were refused. Records after the first segment of
    // a later owner were written after the take-over, and have to be reported.
    const { cleanBytes, fileBytes } = lastScan;
    const isTakenOver = live[index + 1]?.owner !== id.owner;
    segments.push({ ...id, bytes: fileBytes, knownBytes: isTakenOver ? cleanBytes : fileBytes });
  }
  return { segments, lastScan };
}

async function scanSegment(
  recovery: Recovery,
  walker: SegmentWalker,
  id: SegmentId,
  limit: number,
): Promise<Scan> {
  const { context, folder, memory, partition } = recovery;
  const path = `${folder}/${segmentName(id)}`;
  const nowMs = context.clock.monotonicMs();
  const fd = openRegularFile(path);
  try {
    const header = checkSegmentHeader(recovery, fd, id);
    walker.start(fd, segmentSeed(context.logId, partition, id), id.firstOffset);
    let expected = id.firstOffset;
    for (;;) {
      walker.fill(WINDOW_BYTES, limit);
      let step = walker.next();
      for (; step === "record"; step = walker.next()) {
        const { buffer, recordPos } = walker;
        const offset = recordOffset(buffer, recordPos);
        if (offset > expected) reportLost(recovery, expected, offset, `${path} is damaged`);
        expected = offset + 1;
        memory.recover(recordHash(buffer, recordPos), offset, nowMs);
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

/** Checks a header. A damaged one loses nothing: the name and `log.json` have the same values. */
function checkSegmentHeader(recovery: Recovery, fd: number, id: SegmentId): Scan["header"] {
  const { context, folder, partition } = recovery;
  const first = id.firstOffset;
  const path = `${folder}/${segmentName(id)}`;
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
  const isOwn = header.logId === logId && header.partition === partition;
  if (isOwn && header.firstOffset === first && header.owner === id.owner) return "valid";
  throw new SpoorError(
    "Corrupt",
    `open ${path}: its header says segment ${header.firstOffset} of partition ` +
      `${header.partition} of log ${header.logId}; remove the file, or restore the right one`,
    { reason: "log_foreign_segment" },
  );
}

/** Reports lost offsets, except those that were trimmed. */
function reportLost(recovery: Recovery, from: number, to: number, why: string): void {
  const fromOffset = Math.max(from, recovery.trim.trimmedTo);
  if (fromOffset >= to) return;
  const { context, folder, partition } = recovery;
  const message = `${folder} lost the records from ${fromOffset} up to ${to}: ${why}`;
  reportDamage(context, { kind: "lost_records", partition, fromOffset, toOffset: to, message });
}

/** Returns the least offset that the next record may have, from commits and trims. */
function committedFloor({ ingesterTo, others, committed }: TrimState): number {
  let floor = ingesterTo;
  for (const { position } of others.values()) floor = Math.max(floor, position);
  for (const offset of committed.values()) floor = Math.max(floor, offset);
  return floor;
}

/** Prepares the end of the partition for appends. */
async function openEnd(
  recovery: Recovery,
  segments: Segment[],
  lastScan: Scan,
): Promise<Pick<RecoveredPartition, "writer" | "durableEnd">> {
  const { context, folder, partition, trim } = recovery;
  const last = segments.at(-1)!;
  const path = `${folder}/${segmentName(last)}`;
  if (lastScan.header === "valid") {
    await endSegment(context, path, lastScan);
    last.bytes = lastScan.cleanBytes;
  } else if (lastScan.endOffset === last.firstOffset)
    await noteEmptySegment(context, path, lastScan);
  else await syncRecords(context, path);
  await context.fs.syncDir(folder);
  for (const segment of segments) context.counters.bytes += segment.bytes;
  const writer = new SegmentWriter(context, partition, [...segments]);
  const knownEnd = context.knownEnds[partition] ?? 0;
  if (lastScan.endOffset < knownEnd) {
    const why = "it ends before what it had acknowledged";
    reportLost(recovery, lastScan.endOffset, knownEnd, why);
  }
  const committedTo = committedFloor(trim);
  const floor = Math.max(committedTo, knownEnd);
  const durableEnd = Math.max(lastScan.endOffset, floor);
  if (lastScan.endOffset < committedTo) {
    const place = { partition, fromOffset: lastScan.endOffset, toOffset: committedTo };
    const message = `${folder} ends before what was committed from it`;
    reportDamage(context, { kind: "trim_state", ...place, message });
  }
  await writer.startSegment(durableEnd);
  return { writer, durableEnd };
}

/**
 * Truncates a torn tail and syncs the segment. Its records may be in the page cache only, if the
 * last process was killed between write and sync. From now on they count as durable, and retries
 * of them are acknowledged, so they must be synced.
 */
async function endSegment(context: LogContext, path: string, scan: Scan): Promise<void> {
  const file = await context.fs.open(path, false);
  const tornBytes = scan.fileBytes - scan.cleanBytes;
  try {
    if (tornBytes > 0) {
      context.log.warn({ path, tornBytes }, "unfinished write at the end of the log was cut off");
      context.counters.truncatedTailsTotal++;
      await file.truncate(scan.cleanBytes);
    }
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Syncs the records of a segment with a damaged header. */
async function syncRecords(context: LogContext, path: string): Promise<void> {
  const file = await context.fs.open(path, false);
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Handles a last segment without records. A full but damaged header is copied for inspection. */
async function noteEmptySegment(context: LogContext, path: string, scan: Scan): Promise<void> {
  if (scan.header === "short") {
    context.log.warn({ path }, "unfinished segment at the end of the log was replaced");
    context.counters.truncatedTailsTotal++;
  } else await context.fs.copy(path, `${path}.damaged`);
}
