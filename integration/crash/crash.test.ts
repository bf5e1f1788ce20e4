import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCrashRounds } from "./crash.ts";

const seed = Number(process.env.SPOOR_SEED ?? 10);

it(
  `loses and doubles nothing over 4 kills (SPOOR_SEED=${seed})`,
  { timeout: 240_000 },
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "spoor-crash-"));
    try {
      const result = await runCrashRounds({ rounds: 4, seed, dir });
      expect(result.problems).toEqual([]);
      expect(result.kills.random).toBe(4);
      expect(result.lostSpans).toBe(0);
      expect(result.doubledSpans).toBe(0);
      expect(result.strayObjects).toBe(0);
      expect(result.acknowledgedSpans).toBeGreaterThan(100);
      expect(result.blocks).toBeGreaterThan(3);
      // Everything is in blocks: the log keeps only segment headers and retry hashes.
      expect(result.logBytes).toBeLessThan(8 * 1024 * 1024);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
);
