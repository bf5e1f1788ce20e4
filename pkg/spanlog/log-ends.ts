/**
 * Stores the id of the log and the ends of its partitions beside the log. This detects a log that
 * is gone, or that ends before an acknowledged record. The file is written at most once per second
 * and not synced: it may lag behind the log, but is never ahead of it.
 */
import { rename, writeFile } from "node:fs/promises";
import { SpoorError } from "#pkg/errors/errors.ts";
import { errorText, reportDamage, type LogContext } from "./log-context.ts";
import type { SpanLog } from "./span-log.ts";
import { encodeChecked, isOffset, readChecked } from "./state-file.ts";

/** Stored state of one partition. */
export interface PartitionEnd {
  trimmedTo: number;
  /** All records below were durable. */
  end: number;
}

export interface LogEnds {
  logId: string;
  partitions: readonly PartitionEnd[];
}

const saveEveryMs = 1000;

/** Reads the file; undefined if it is missing. A damaged file is reported and ignored. */
export function readLogEnds(context: LogContext, path: string): LogEnds | undefined {
  try {
    const body = readChecked(path);
    if (body === undefined) return undefined;
    const { logId, partitions } = body;
    if (typeof logId === "string" && Array.isArray(partitions) && partitions.every(isEnd)) {
      return { logId, partitions };
    }
    throw new SpoorError("Corrupt", `read ${path}: its fields are invalid`);
  } catch (error) {
    if (!(error instanceof SpoorError) || error.code !== "Corrupt") throw error;
    const place = { partition: 0, fromOffset: 0, toOffset: 0 };
    const message = `${error.message}: a lost end of the log would not be detected`;
    reportDamage(context, { kind: "log_ends", ...place, message });
    return undefined;
  }
}

function isEnd(value: unknown): value is PartitionEnd {
  if (typeof value !== "object" || value === null) return false;
  const { trimmedTo, end } = value as Record<string, unknown>;
  return isOffset(trimmedTo) && isOffset(end);
}

/** Reports that an earlier log is gone, with the records that were in no block. */
export function reportMissingLog(context: LogContext, { logId, partitions }: LogEnds): void {
  for (const [partition, { trimmedTo, end }] of partitions.entries()) {
    if (end <= trimmedTo) continue;
    reportDamage(context, {
      kind: "log_missing",
      partition,
      fromOffset: trimmedTo,
      toOffset: end,
      message:
        `log ${logId} is gone from ${context.dir}, a new one begins: in partition ${partition} ` +
        `up to ${end - trimmedTo} acknowledged records were in no block; put the folder back ` +
        "to store them",
    });
  }
  const isComplete = partitions.every(({ trimmedTo, end }) => end <= trimmedTo);
  if (!isComplete) return;
  const fields = { dir: context.dir, logId };
  context.log.warn(
    fields,
    "the log is gone, a new one begins; all known records were in blocks, but records that were " +
      "acknowledged in the last second before a kill are unknown",
  );
}

/** Writes the file once per second until it is stopped. */
export class LogEndsWriter {
  readonly #path: string;
  readonly #spanLog: SpanLog;
  readonly #onError: (error: string) => void;
  #saved = "";
  /** Settles when the last write is done; never rejects. */
  #saving: Promise<void> = Promise.resolve();
  readonly #timer: NodeJS.Timeout;

  constructor(path: string, spanLog: SpanLog, onError: (error: string) => void) {
    this.#path = path;
    this.#spanLog = spanLog;
    this.#onError = onError;
    this.#timer = setInterval(() => void this.save(), saveEveryMs);
    this.#timer.unref();
  }

  /** Writes the file if anything has changed. Never rejects. */
  save(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#save());
    return this.#saving;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.save();
  }

  async #save(): Promise<void> {
    const { id: logId, partitionCount } = this.#spanLog;
    const partitions = Array.from({ length: partitionCount }, (_, i): PartitionEnd => {
      return { trimmedTo: this.#spanLog.firstOffset(i), end: this.#spanLog.durableEnd(i) };
    });
    const bytes = encodeChecked({ logId, partitions });
    const text = bytes.toString("latin1");
    if (text === this.#saved) return;
    try {
      this.#spanLog.assertOwner();
      await writeFile(`${this.#path}.tmp`, bytes);
      await rename(`${this.#path}.tmp`, this.#path);
      this.#saved = text;
    } catch (error) {
      this.#onError(errorText(error));
    }
  }
}
