/**
 * CPU and heap profiles of the main thread, for people who hold the admin token. Both are files
 * that Chrome's developer tools open.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { Session } from "node:inspector/promises";
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";

export type ProfileKind = "cpu" | "heap";

const secondsMax = 60;
const secondsDefault = 10;
/** Bytes of allocation between two samples. */
const heapIntervalBytes = 32 * 1024;

export class Profiles {
  readonly #token: string;
  readonly #clock: Clock;
  #isRunning = false;

  /** Without a token nobody may have profiles. */
  constructor(token: string, clock: Clock) {
    this.#token = token;
    this.#clock = clock;
  }

  /**
   * Records for `seconds` and returns the profile as JSON. Errors: NotFound if profiles are off,
   * Unauthenticated, InvalidInput, LimitExceeded while another one is recorded.
   */
  async record(
    kind: ProfileKind,
    { authorization, seconds }: { authorization: string | undefined; seconds: string | null },
  ): Promise<string> {
    if (this.#token === "") {
      const message = "profiles are off: server.admin_token is not set";
      throw new SpoorError("NotFound", message, { reason: "profiles_off" });
    }
    if (!isEqual(authorization ?? "", `Bearer ${this.#token}`)) {
      const message = "profiles need the header Authorization: Bearer <server.admin_token>";
      throw new SpoorError("Unauthenticated", message, { reason: "no_admin_token" });
    }
    const count = seconds === null ? secondsDefault : Number(seconds);
    if (!(count > 0 && count <= secondsMax)) {
      const message = `seconds must be a number up to ${secondsMax}`;
      throw new SpoorError("InvalidInput", message, { reason: "invalid_parameter" });
    }
    if (this.#isRunning) {
      const details = { reason: "profile_running", retryAfterMs: secondsMax * 1000 };
      throw new SpoorError("LimitExceeded", "another profile is being recorded", details);
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

/** In a time that says nothing of where they differ. */
function isEqual(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
