/** Crash rounds as tests: the real ring runs a few of each case, the long ring many. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startCrashBucket } from "./crash-bucket.ts";
import { runCrashRounds } from "./crash.ts";
import { killPoints } from "./kill-points.ts";
import { runPausedRounds } from "./paused.ts";

export interface CrashRing {
  seed: number;
  rounds: number;
}

const nothingWrong = { lostSpans: 0, doubledSpans: 0, strayObjects: 0, problems: [] };
/** Minimum acknowledged spans per round on any machine. */
const spansPerRound = 25;

/** Kills with MinIO, at the points in turn. */
export function defineKillTest({ seed, rounds }: CrashRing): void {
  it(`loses and doubles nothing over ${rounds} kills on MinIO (SPOOR_SEED=${seed})`, async () => {
    const dir = await mkdtemp(join(tmpdir(), "spoor-crash-"));
    const bucket = await startCrashBucket(dir);
    try {
      const result = await runCrashRounds({ rounds, seed, dir, bucket });
      expect(result).toMatchObject(nothingWrong);
      expect(result.acknowledgedSpans).toBeGreaterThan(spansPerRound * rounds);
      const atEach = Math.floor(rounds / killPoints.length / 2);
      for (const point of killPoints) {
        expect(result.kills[point], point).toBeGreaterThanOrEqual(atEach);
      }
      // The log stays bounded, because records in blocks are trimmed.
      expect(result.logBytesMax).toBeLessThan(32 * 1024 * 1024);
      expect(result.logBytes).toBeLessThan(8 * 1024 * 1024);
    } finally {
      await bucket.stop();
      await rm(dir, { recursive: true, force: true });
    }
  });
}

/** Most of the time goes into waiting until the lock of the paused process is stale. */
export function definePausedTest({ seed, rounds }: CrashRing): void {
  const what = "loses and doubles nothing when a paused process resumes after another took over";
  it(`${what} (SPOOR_SEED=${seed})`, async () => {
    const dir = await mkdtemp(join(tmpdir(), "spoor-crash-"));
    try {
      const result = await runPausedRounds({ rounds, roundsMax: 3 * rounds, seed, dir });
      expect(result).toMatchObject(nothingWrong);
      expect(result.acknowledgedSpans).toBeGreaterThan(spansPerRound * rounds);
      // A paused process has requests in flight in most rounds, so this may take some more of them.
      expect(result.lateResponses[503]).toBeGreaterThan(0);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
}
