/**
 * Puts records in quarantine back into the span log, each exactly once, even if the process is
 * killed at any point:
 *
 *     1. write a note <name>.put-back: the log's id, and the next offset of each target partition
 *     2. append to the log
 *     3. remove the record, then the note
 *
 * Only one process has the log open. The next process that opens it first finishes the notes: if a
 * partition's log extends beyond the noted offset, it has the spans; otherwise they are appended.
 */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { WireWriter } from "#pkg/bytes/bytes.ts";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { splitRequest } from "#pkg/otlp/otlp.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import {
  type AsideRecord,
  isMissing,
  quarantineError,
  readAside,
  removeDurably,
  writeDurably,
} from "./quarantine-files.ts";

type AppendableLog = Pick<SpanLog, "id" | "partitionCount" | "append" | "durableEnd">;

const noteSchema = z.strictObject({
  logId: z.string(),
  partitionCount: z.number(),
  places: z.array(z.strictObject({ partition: z.number(), offset: z.number() })),
});
type Note = z.infer<typeof noteSchema>;

const noteSuffix = ".put-back";
/** Number of a field that OTLP does not have; readers skip it. */
const originField = 5000;

/**
 * Puts one record back. No other caller may append to the log meanwhile. Throws InvalidInput for
 * bytes without valid spans, or what the disk or the log throws. After an error the record stays in
 * quarantine, or the next process that opens the log finishes.
 */
export async function putBack(record: AsideRecord, log: AppendableLog): Promise<void> {
  const parts = await partsOf(record, log.partitionCount);
  const places = parts.map(({ partition }) => ({ partition, offset: log.durableEnd(partition) }));
  const note: Note = { logId: log.id, partitionCount: log.partitionCount, places };
  try {
    await writeDurably(notePath(record), Buffer.from(JSON.stringify(note)));
  } catch (cause) {
    throw quarantineError(`put ${record.path} back`, cause);
  }
  await finish(record, note, log);
}

/**
 * Finishes the work of killed processes, for records for which `isServed` is true. Call it before
 * other code appends to the log.
 */
export async function finishPutBacks(
  dir: string,
  spanLog: AppendableLog,
  log: Log,
  isServed: (record: AsideRecord) => boolean = () => true,
): Promise<void> {
  await removeLeftNotes(dir);
  for (const record of (await readAside(dir)).filter(isServed)) {
    const note = await readNote(record);
    if (note === undefined) continue;
    const { path } = record;
    if (note.logId === spanLog.id && note.partitionCount === spanLog.partitionCount) {
      await finish(record, note, spanLog);
      log.info({ path }, "finished putting a record back from quarantine");
    } else {
      // It is another log, or its partitions changed, which only an empty log allows: no spans yet.
      await removeDurably(notePath(record));
      log.warn({ path }, "a record was not put back from quarantine: it is still there");
    }
  }
}

/** Removes notes without a record, left by a process that was killed between the two removals. */
async function removeLeftNotes(dir: string): Promise<void> {
  if (!existsSync(dir)) return;
  for (const entry of await readdir(dir, { recursive: true })) {
    const path = join(dir, entry);
    const isNote = entry.endsWith(noteSuffix);
    if (isNote && !existsSync(path.slice(0, -noteSuffix.length))) await removeDurably(path);
  }
}

async function finish(record: AsideRecord, note: Note, log: AppendableLog): Promise<void> {
  const parts = await partsOf(record, log.partitionCount);
  for (const { partition, bytes } of parts) {
    const place = note.places.find((one) => one.partition === partition);
    if (place !== undefined && log.durableEnd(partition) > place.offset) continue;
    await log.append(partition, record.tenant, bytes);
  }
  try {
    await removeDurably(record.path);
    await removeDurably(notePath(record));
  } catch (cause) {
    throw quarantineError(`remove ${record.path}, which is in the log again`, cause);
  }
}

/**
 * Splits a record by partition and adds its name to the bytes. Without the name, the log would drop
 * bytes equal to a record of the last ten minutes as a duplicate.
 */
async function partsOf(
  record: AsideRecord,
  partitionCount: number,
): Promise<{ partition: number; bytes: Uint8Array[] }[]> {
  const attempt = `put ${record.path} back`;
  let bytes: Uint8Array;
  try {
    bytes = await readFile(record.path);
  } catch (cause) {
    throw quarantineError(attempt, cause);
  }
  let split: ReturnType<typeof splitRequest>;
  try {
    split = splitRequest(bytes, { partitionCount });
  } catch (cause) {
    if (!hasCode(cause, "InvalidInput")) throw cause;
    throw new SpoorError("InvalidInput", `${attempt}: ${cause.message}`, { cause });
  }
  if (split.parts.length === 0 || split.rejectedSpans > 0) {
    const { rejectedSpans, acceptedSpans } = split;
    const message = `${attempt}: ${acceptedSpans} of its spans are valid, ${rejectedSpans} are not`;
    throw new SpoorError("InvalidInput", message);
  }
  const origin = new WireWriter();
  origin.string(originField, record.name);
  return split.parts.map(({ partition, record: part }) => {
    return { partition, bytes: [part, Uint8Array.from(origin.bytes())] };
  });
}

function notePath({ path }: AsideRecord): string {
  return `${path}${noteSuffix}`;
}

/** Reads a note; undefined if there is none or it is incomplete: then nothing was appended. */
async function readNote(record: AsideRecord): Promise<Note | undefined> {
  let text: string;
  try {
    text = await readFile(notePath(record), "utf8");
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw quarantineError(`read ${notePath(record)}`, cause);
  }
  try {
    return noteSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
