import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCrashRounds } from "./crash.ts";

const seed = Number(process.env.SPOOR_SEED ?? Date.now() % 1_000_000);

it(`loses and doubles nothing over 50 kills (SPOOR_SEED=${seed})`, async () => {
  const dir = await mkdtemp(join(tmpdir(), "spoor-crash-"));
  try {
    const result = await runCrashRounds({ rounds: 50, seed, dir });
    expect(result).toMatchObject({ lostSpans: 0, doubledSpans: 0, strayObjects: 0, problems: [] });
    expect(result.acknowledgedSpans).toBeGreaterThan(5000);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
