/** Reads records of the log again, to rebuild a head that could not be cut. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { type LogConfig, type LogRecord, openSpanLogReader } from "#pkg/spanlog/spanlog.ts";
import { LiveHead, Undecodable } from "./live-head.ts";
import type { ClosedHead, CutTask, LogRange } from "./messages.ts";

const readBytes = 4 * 1024 * 1024;

/** Decodes the head of a range again. Skips records that do not decode, like the first time. */
export async function rebuildHead({
  logConfig,
  partition,
  range,
  limits,
}: Pick<CutTask, "logConfig" | "partition" | "range" | "limits">): Promise<
  Pick<ClosedHead, "data" | "firstAppendedMs" | "lastAppendedMs">
> {
  const head = new LiveHead(0, range.tenant, range.fromOffset, 0);
  for await (const record of readRange(logConfig, partition.index, range)) {
    try {
      head.append(record, limits);
    } catch (error) {
      if (!(error instanceof Undecodable)) throw error;
    }
  }
  const { firstAppendedMs, lastAppendedMs } = head;
  return { data: head.head.freeze(), firstAppendedMs, lastAppendedMs };
}

/** Reads a copy of one record's bytes. Throws NotFound if the log has lost it, or Unavailable. */
export async function readRecord(
  logConfig: LogConfig,
  partition: number,
  { tenant, offset }: { tenant: string; offset: number },
): Promise<Uint8Array> {
  const range = { tenant, fromOffset: offset, toOffset: offset + 1 };
  for await (const { bytes } of readRange(logConfig, partition, range)) {
    return Uint8Array.from(bytes);
  }
  throw new SpoorError(
    "NotFound",
    `read record ${offset} of tenant ${tenant} in partition ${partition}: the log has lost it`,
  );
}

/** Yields the tenant's records of a range. The bytes of a record are valid until the next one. */
async function* readRange(
  logConfig: LogConfig,
  partition: number,
  { tenant, fromOffset, toOffset }: LogRange,
): AsyncGenerator<LogRecord> {
  using reader = openSpanLogReader(logConfig, partition);
  for (let at = fromOffset; at < toOffset;) {
    const { records, nextOffset } = await reader.read(at, toOffset, { bytesMax: readBytes });
    for (const record of records) if (record.tenant === tenant) yield record;
    at = nextOffset;
  }
}
