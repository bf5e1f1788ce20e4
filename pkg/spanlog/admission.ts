/** Whether the log takes one more record: its bounds of disk and memory, the disk's free space. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { errorText, type LogContext } from "./log-context.ts";
import type { RefusedReason } from "./spanlog.ts";

/** The file system is asked for its free space at most this often. */
const FREE_SPACE_CHECK_MS = 1000;

export class Admission {
  readonly #context: LogContext;
  #checkedMs: number;
  #freeBytes: number;
  /** `appendedBytesTotal` when the file system was asked. */
  #appendedAtCheck = 0;
  #refreshing: Promise<void> | undefined;

  constructor(context: LogContext, freeBytes: number) {
    this.#context = context;
    this.#freeBytes = freeBytes;
    this.#checkedMs = context.clock.monotonicMs();
  }

  /** Throws LimitExceeded or Unavailable if a record of this size is not to be taken now. */
  check(sizeBytes: number): void {
    const { bounds, counters, dir } = this.#context;
    if (counters.pendingBytes + sizeBytes > bounds.pendingBytesMax) {
      const text = `${counters.pendingBytes} of ${bounds.pendingBytesMax} bytes wait in memory`;
      throw this.#refuse("LimitExceeded", "log_busy", text, 1000);
    }
    const held = counters.bytes + counters.pendingBytes;
    if (held + sizeBytes > bounds.bytesMax) {
      const text = `${held} of ${bounds.bytesMax} bytes are not committed yet`;
      throw this.#refuse("LimitExceeded", "log_full", text, 5000);
    }
    if (this.#isLow(sizeBytes)) {
      const text = `less than ${bounds.freeBytesMin} bytes are free in ${dir}`;
      throw this.#refuse("Unavailable", "disk_space_low", text, 5000);
    }
  }

  /**
   * Asks the file system again if its last answer is old. A promise is returned only where
   * waiting for the answer may turn a refusal into a yes.
   */
  refresh(sizeBytes: number): Promise<void> | undefined {
    if (this.#refreshing === undefined) {
      const ageMs = this.#context.clock.monotonicMs() - this.#checkedMs;
      if (ageMs < FREE_SPACE_CHECK_MS) return undefined;
      this.#refreshing = this.#askFileSystem();
    }
    return this.#isLow(sizeBytes) ? this.#refreshing : undefined;
  }

  /** Resolves when no question to the file system is under way. */
  async idle(): Promise<void> {
    await this.#refreshing;
  }

  async #askFileSystem(): Promise<void> {
    const { clock, counters, dir, fs, log } = this.#context;
    this.#checkedMs = clock.monotonicMs();
    const appended = counters.appendedBytesTotal;
    try {
      this.#freeBytes = await fs.freeBytes(dir);
      this.#appendedAtCheck = appended;
    } catch (error) {
      // The last answer minus what was written since still holds.
      log.warn({ dir, error: errorText(error) }, "free space of the log's disk is unknown");
    } finally {
      this.#refreshing = undefined;
    }
  }

  #isLow(sizeBytes: number): boolean {
    const { bounds, counters } = this.#context;
    const written = counters.appendedBytesTotal - this.#appendedAtCheck;
    const free = this.#freeBytes - written - counters.pendingBytes - sizeBytes;
    return free < bounds.freeBytesMin;
  }

  #refuse(
    code: "LimitExceeded" | "Unavailable",
    reason: RefusedReason,
    text: string,
    retryAfterMs: number,
  ): SpoorError {
    this.#context.counters.refusedTotal[reason]++;
    return new SpoorError(code, `append to the log: ${text}`, { reason, retryAfterMs });
  }
}
