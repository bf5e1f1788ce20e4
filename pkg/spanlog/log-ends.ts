/**
 * Remembers beside the log which log there was and how far it reached, so that a log that is gone,
 * or that ends before what it had acknowledged, is noticed. The file is written every second at
 * most and without a sync: it lags behind the log, it is never ahead of it.
 */
import { rename, writeFile } from "node:fs/promises";
import { SpoorError } from "#pkg/errors/errors.ts";
import { errorText, reportDamage, type LogContext } from "./log-context.ts";
import type { SpanLog } from "./spanlog.ts";
import { encodeChecked, isOffset, readChecked } from "./state-file.ts";

/** What was known of one partition. */
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

/** Undefined if there is no such file. One that cannot be trusted is reported, then left out. */
export function readLogEnds(context: LogContext, path: string): LogEnds | undefined {
  try {
    const body = readChecked(path);
    if (body === undefined) return undefined;
    const { logId, partitions } = body;
    if (typeof logId === "string" && Array.isArray(partitions) && partitions.every(isEnd)) {
      return { logId, partitions };
    }
    throw new SpoorError("Corrupt", `read ${path}: its fields make no sense`);
  } catch (error) {
    if (!(error instanceof SpoorError) || error.code !== "Corrupt") throw error;
    const place = { partition: 0, fromOffset: 0, toOffset: 0 };
    const message = `${error.message}: an end of the log that was lost would not be noticed`;
    reportDamage(context, { kind: "log_ends", ...place, message });
    return undefined;
  }
}

function isEnd(value: unknown): value is PartitionEnd {
  if (typeof value !== "object" || value === null) return false;
  const { trimmedTo, end } = value as Record<string, unknown>;
  return isOffset(trimmedTo) && isOffset(end);
}

/** Reports a log that was here and is not: a new one begins, and knows nothing of its records. */
export function reportMissingLog(context: LogContext, { logId, partitions }: LogEnds): void {
  for (const [partition, { trimmedTo, end }] of partitions.entries()) {
    if (end <= trimmedTo) continue;
    reportDamage(context, {
      kind: "log_missing",
      partition,
      fromOffset: trimmedTo,
      toOffset: end,
      message:
        `log ${logId} is gone from ${context.dir}, a new one begins: of partition ${partition} ` +
        `up to ${end - trimmedTo} acknowledged records were in no block; put the folder back ` +
        "to store them",
    });
  }
  const isComplete = partitions.every(({ trimmedTo, end }) => end <= trimmedTo);
  if (!isComplete) return;
  const fields = { dir: context.dir, logId };
  context.log.warn(
    fields,
    "the log is gone, a new one begins; all records that it had noted were in blocks, " +
      "those that it acknowledged less than a second before its process was killed are not known",
  );
}

/** Keeps the file up to date until it is stopped. */
export class LogEndsKeeper {
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
