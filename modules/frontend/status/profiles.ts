/** CPU and heap profiles of the main thread, in the format of Chrome's developer tools. */
import { Session } from "node:inspector/promises";
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";

export type ProfileKind = "cpu" | "heap";

const secondsMax = 60;
const secondsDefault = 10;
/** Bytes of allocation between two samples. */
const heapIntervalBytes = 32 * 1024;

export class Profiles {
  readonly #clock: Clock;
  #isRunning = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Records for `seconds` and returns the profile as JSON. Throws InvalidInput, or LimitExceeded
   * while another profile is being recorded.
   */
  async record(kind: ProfileKind, seconds: string | null): Promise<string> {
    const count = seconds === null ? secondsDefault : Number(seconds);
    if (!(count > 0 && count <= secondsMax)) {
      const message = `seconds must be a number up to ${secondsMax}`;
      throw new SpoorError("InvalidInput", message, { reason: "invalid_parameter" });
    }
    if (this.#isRunning) {
      throw new SpoorError("LimitExceeded", "another profile is being recorded", {
        reason: "profile_running",
        retryAfterMs: secondsMax * 1000,
      });
    }
    this.#isRunning = true;
    const session = new Session();
    session.connect();
    try {
      return JSON.stringify(await this.#record(session, kind, count * 1000));
    } finally {
      session.disconnect();
      this.#isRunning = false;
    }
  }

  async #record(session: Session, kind: ProfileKind, ms: number): Promise<object> {
    if (kind === "cpu") {
      await session.post("Profiler.enable");
      await session.post("Profiler.start");
      await this.#clock.sleep(ms);
      return (await session.post("Profiler.stop")).profile;
    }
    await session.post("HeapProfiler.startSampling", { samplingInterval: heapIntervalBytes });
    await this.#clock.sleep(ms);
    return (await session.post("HeapProfiler.stopSampling")).profile;
  }
}
