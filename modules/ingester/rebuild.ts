/** Reading records of the log a second time: what a head that could not be cut was made of. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { openFileLogReader } from "#pkg/spanlog/file-log-reader.ts";
import type { LogRecord } from "#pkg/spanlog/spanlog.ts";
import { LiveHead, Undecodable } from "./live-head.ts";
import type { ClosedHead, CutTask, LogRange } from "./messages.ts";

const readBytes = 4 * 1024 * 1024;

/** The head of a range, decoded anew. Records that do not decode are left out, as at first. */
export function rebuildHead({
  logDir,
  partition,
  range,
  limits,
}: Pick<CutTask, "logDir" | "partition" | "range" | "limits">): Pick<
  ClosedHead,
  "data" | "firstAppendedMs" | "lastAppendedMs"
> {
  const head = new LiveHead(0, range.tenant, range.fromOffset, 0);
  for (const record of readRange(logDir, partition.index, range)) {
    try {
      head.append(record, limits);
    } catch (error) {
      if (!(error instanceof Undecodable)) throw error;
    }
  }
  const { firstAppendedMs, lastAppendedMs } = head;
  return { data: head.head.freeze(), firstAppendedMs, lastAppendedMs };
}

/** One record's bytes, a copy. Errors: NotFound if the log has lost it; Unavailable. */
export function readRecord(
  logDir: string,
  partition: number,
  { tenant, offset }: { tenant: string; offset: number },
): Uint8Array {
  const range = { tenant, fromOffset: offset, toOffset: offset + 1 };
  for (const { bytes } of readRange(logDir, partition, range)) return Uint8Array.from(bytes);
  throw new SpoorError(
    "NotFound",
    `read record ${offset} of tenant ${tenant} in partition ${partition}: the log has lost it`,
  );
}

/** The tenant's records of a range; the bytes of each are valid until the next one is taken. */
function* readRange(
  logDir: string,
  partition: number,
  { tenant, fromOffset, toOffset }: LogRange,
): Generator<LogRecord> {
  using reader = openFileLogReader(logDir, partition);
  for (let at = fromOffset; at < toOffset;) {
    const { records, nextOffset } = reader.read(at, toOffset, { bytesMax: readBytes });
    for (const record of records) if (record.tenant === tenant) yield record;
    at = nextOffset;
  }
}
