/**
 * The process that `kill.test.ts` kills: appends records one after the other until it dies, some
 * of them twice, trims now and then, and tells what was acknowledged, one line each.
 *
 *     node kill-worker.ts <dir> <round> <first key to send>
 */
import { writeSync } from "node:fs";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openFileLog } from "#pkg/spanlog/file-log.ts";
import { KILL_LOG_OPTIONS, killPartition, killText } from "./kill-record.ts";

const [dir, round, firstKey] = process.argv.slice(2);
const log = await openFileLog(dir, {
  clock: systemClock,
  log: openLog("error"),
  ...KILL_LOG_OPTIONS,
});
if (log.damage.length > 0) throw new Error(JSON.stringify(log.damage));
await sendFrom(Number(firstKey));

async function sendFrom(firstKey: number): Promise<void> {
  let next = firstKey;
  const sendAll = async (): Promise<void> => {
    for (;;) {
      const key = next++;
      await send(key);
      if (key % 7 === 0) await send(key);
      if (key % 50 === 49) await trim(killPartition(key));
    }
  };
  await Promise.all(Array.from({ length: 8 }, sendAll));
}

async function send(key: number): Promise<void> {
  const partition = killPartition(key);
  const { offset, duplicate } = await log.append(partition, "acme", killText(key));
  tell(`ack ${key} ${offset} ${duplicate ? "again" : "new"} ${round}\n`);
}

async function trim(partition: number): Promise<void> {
  const upTo = Math.max(0, log.durableEnd(partition) - 40);
  tell(`trim ${partition} ${upTo}\n`);
  await log.trim(partition, upTo, { acme: upTo });
}

/** Writes a line before anything else happens; a pipe that is full is written to again. */
function tell(line: string): void {
  for (;;) {
    try {
      writeSync(1, line);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }
}
