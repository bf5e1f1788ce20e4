import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runQuarantineRounds } from "./aside.ts";

const seed = Number(process.env.SPOOR_SEED ?? 11);

it(
  `quarantined and retried spans: none lost or duplicated over 2 kills (SPOOR_SEED=${seed})`,
  { timeout: 120_000 },
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "spoor-aside-"));
    try {
      const result = await runQuarantineRounds({ rounds: 2, seed, dir, keys: 20_000 });
      expect(result).toMatchObject({ lostSpans: 0, doubledSpans: 0, strayObjects: 0 });
      expect(result).toMatchObject({ leftInQuarantine: 0, problems: [] });
      expect(result.acknowledgedSpans).toBeGreaterThan(10);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
);
