import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runQuarantineRounds } from "./aside.ts";
import { runCrashRounds } from "./crash.ts";
import { defineKillTest, definePausedTest } from "./rings.ts";

const seed = Number(process.env.SPOOR_SEED ?? Date.now() % 1_000_000);

defineKillTest({ seed, rounds: 120 });
definePausedTest({ seed, rounds: 40 });

it.each([
  ["kills on files", 60, runCrashRounds],
  ["kills with content that is hard to encode", 40, runQuarantineRounds],
] as const)(`loses and doubles nothing over %s (SPOOR_SEED=${seed})`, async (_, rounds, run) => {
  const dir = await mkdtemp(join(tmpdir(), "spoor-crash-"));
  try {
    const result = await run({ rounds, seed, dir, keys: 20_000 });
    expect(result).toMatchObject({ lostSpans: 0, doubledSpans: 0, strayObjects: 0, problems: [] });
    expect(result.acknowledgedSpans).toBeGreaterThan(800);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
