import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startCrashBucket } from "./crash-bucket.ts";
import { runCrashRounds } from "./crash.ts";
import { killPoints } from "./kill-points.ts";
import { runPausedRounds } from "./paused.ts";

const seed = Number(process.env.SPOOR_SEED ?? 12);

it(`loses and doubles nothing over 12 kills on MinIO, at each named point (SPOOR_SEED=${seed})`, async () => {
  const dir = await mkdtemp(join(tmpdir(), "spoor-crash-"));
  const bucket = await startCrashBucket(dir);
  try {
    const result = await runCrashRounds({ rounds: 12, seed, dir, bucket });
    expect(result).toMatchObject({ lostSpans: 0, doubledSpans: 0, strayObjects: 0, problems: [] });
    expect(result.acknowledgedSpans).toBeGreaterThan(800);
    for (const point of killPoints) expect(result.kills[point], point).toBeGreaterThanOrEqual(1);
    // The log does not grow without bound: what is in blocks leaves it.
    expect(result.logBytesMax).toBeLessThan(32 * 1024 * 1024);
    expect(result.logBytes).toBeLessThan(8 * 1024 * 1024);
  } finally {
    await bucket.stop();
    await rm(dir, { recursive: true, force: true });
  }
});

it(`nor when a paused process wakes up after another took over (SPOOR_SEED=${seed})`, async () => {
  const dir = await mkdtemp(join(tmpdir(), "spoor-crash-"));
  try {
    const result = await runPausedRounds({ rounds: 4, seed, dir });
    expect(result).toMatchObject({ lostSpans: 0, doubledSpans: 0, strayObjects: 0, problems: [] });
    expect(result.acknowledgedSpans).toBeGreaterThan(800);
    // Requests were in its hands when it woke up.
    expect(result.lateAnswers[503]).toBeGreaterThan(0);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
