/** Admission of records to the log, by its limits of disk and memory and by the free disk space. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { errorText, type LogContext } from "./log-context.ts";
import type { RefusedReason } from "./span-log.ts";

/** Minimum interval between look-ups of the free space. */
const FREE_SPACE_CHECK_MS = 1000;

export class Admission {
  readonly #context: LogContext;
  #checkedMs: number;
  #freeBytes: number;
  /** `appendedBytesTotal` at the last look-up. */
  #appendedAtCheck = 0;
  #refreshing: Promise<void> | undefined;

  constructor(context: LogContext, freeBytes: number) {
    this.#context = context;
    this.#freeBytes = freeBytes;
    this.#checkedMs = context.clock.monotonicMs();
  }

  /** Throws LimitExceeded or Unavailable if a record of this size cannot be accepted now. */
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
   * Looks up the free space again if the last value is old. Returns a promise only if the new value
   * may turn a refusal into an admission.
   */
  refresh(sizeBytes: number): Promise<void> | undefined {
    if (this.#refreshing === undefined) {
      const ageMs = this.#context.clock.monotonicMs() - this.#checkedMs;
      if (ageMs < FREE_SPACE_CHECK_MS) return undefined;
      this.#refreshing = this.#lookUpFreeSpace();
    }
    return this.#isLow(sizeBytes) ? this.#refreshing : undefined;
  }

  /** Waits until no look-up is in flight. */
  async idle(): Promise<void> {
    await this.#refreshing;
  }

  async #lookUpFreeSpace(): Promise<void> {
    const { clock, counters, dir, fs, log } = this.#context;
    this.#checkedMs = clock.monotonicMs();
    const appended = counters.appendedBytesTotal;
    try {
      this.#freeBytes = await fs.freeBytes(dir);
      this.#appendedAtCheck = appended;
    } catch (error) {
      // The last value minus the bytes written since is still a valid estimate.
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
