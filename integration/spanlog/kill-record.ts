/** What `kill.test.ts` and the process that it kills agree on. */
import type { FileLogOptions } from "#pkg/spanlog/file-log.ts";

export const KILL_LOG_OPTIONS: Omit<FileLogOptions, "clock" | "log"> = {
  partitionCount: 2,
  segmentBytesMax: 20_000,
  freeBytesMin: 0,
};

export function killPartition(key: number): number {
  return (key >> 2) & 1;
}

/** The bytes of a record tell its key and are long enough to be torn. */
export function killText(key: number): Buffer {
  return Buffer.from(`${key} `.padEnd(20 + ((key * 7919) % 3000), `${key % 10}`));
}
