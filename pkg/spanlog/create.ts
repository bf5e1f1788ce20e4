/** Creates a log, and changes its number of partitions. */
import { stat } from "node:fs/promises";
import { SpoorError } from "#pkg/errors/errors.ts";
import { parseSegmentName, SEGMENT_HEADER_BYTES } from "./format.ts";
import { partitionFolder, type LogContext } from "./log-context.ts";
import { makeFolderDurably } from "./log-fs.ts";
import { recoverPartition } from "./recover.ts";
import { listSegments } from "./segments.ts";
import { SegmentWriter } from "./segment-writer.ts";
import {
  LOG_STATE_NAME,
  type TrimState,
  trimStateAt,
  writeLogState,
  writeTrimState,
} from "./state-file.ts";

/** Creates the first segment of every partition, and last `log.json`, which makes the log exist. */
export async function createLog(context: LogContext, partitionCount: number): Promise<void> {
  const { dir, fs, logId, owner } = context;
  await makeFolderDurably(fs, dir);
  for (const name of await fs.readdir(dir)) {
    if (/^p\d+$/.test(name)) await refuseRecords(context, `${dir}/${name}`);
  }
  for (let i = 0; i < partitionCount; i++) await createPartition(context, i);
  await writeLogState(fs, dir, { logId, partitionCount, owner });
  context.log.info({ dir, logId, partitionCount }, "new log");
}

/**
 * Changes the number of partitions. This moves traces to other partitions, and the table stores
 * offsets per number of partitions. So all records must be trimmed, that is, stored in the table;
 * throws InvalidInput otherwise. Folders above a smaller number stay, so that their offsets
 * continue if the number grows again.
 */
export async function repartitionLog(
  context: LogContext,
  fromCount: number,
  toCount: number,
): Promise<void> {
  const { dir, fs, logId, owner } = context;
  const states: TrimState[] = [];
  for (let i = 0; i < fromCount; i++) {
    const { writer, durableEnd, trim } = await recoverPartition(context, i);
    await writer.close();
    states.push(trim.state);
    if (trim.state.trimmedTo === durableEnd) continue;
    const left = durableEnd - trim.state.trimmedTo;
    throw new SpoorError(
      "InvalidInput",
      `open log ${dir} with ${toCount} partitions: it has ${fromCount}, and partition ${i} holds ` +
        `${left} records that are not committed; run with ${fromCount} until they are`,
      { reason: "partition_count_changed" },
    );
  }
  // The committed offsets belong to the appIds of the old number.
  for (const [i, { trimmedTo }] of states.entries()) {
    await writeTrimState(fs, partitionFolder(dir, i), trimStateAt(trimmedTo, new Map()));
  }
  for (let i = fromCount; i < toCount; i++) {
    const folder = partitionFolder(dir, i);
    await makeFolderDurably(fs, folder);
    if (listSegments(await fs.readdir(folder)).live.length === 0) await createPartition(context, i);
  }
  await writeLogState(fs, dir, { logId, partitionCount: toCount, owner });
  context.counters.bytes = 0;
  context.log.info({ dir, fromCount, toCount }, "number of log partitions changed");
}

async function createPartition(context: LogContext, partition: number): Promise<void> {
  await makeFolderDurably(context.fs, partitionFolder(context.dir, partition));
  const writer = new SegmentWriter(context, partition, []);
  await writer.startSegment(0);
  await writer.close();
  context.counters.bytes = 0;
}

/** Throws Corrupt if the folder holds records: a lost `log.json` must not start a new log. */
async function refuseRecords(context: LogContext, folder: string): Promise<void> {
  for (const name of await context.fs.readdir(folder)) {
    const id = parseSegmentName(name);
    if (id === undefined) continue;
    const { size } = await stat(`${folder}/${name}`);
    if (id.firstOffset === 0 && size <= SEGMENT_HEADER_BYTES) continue;
    throw new SpoorError(
      "Corrupt",
      `open log ${context.dir}: ${LOG_STATE_NAME} is missing but ${folder} holds records`,
      { reason: "log_state_missing" },
    );
  }
}
