import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { simulate } from "./simulation.ts";

const firstSeed = Number(process.env.SPOOR_SEED ?? Date.now() % 1_000_000);
const runs = 12;

it.each(Array.from({ length: runs }, (_, i) => firstSeed + i))(
  "nothing is lost or doubled in 800 virtual minutes (SPOOR_SEED=%i)",
  async (seed) => {
    const dir = await mkdtemp(join(tmpdir(), "spoor-simulation-"));
    try {
      const { problems, lastLines, ...result } = await simulate({ seed, minutes: 800, dir });
      const how = `npm run simulate -- --seed ${seed} --minutes 800\n${lastLines.join("\n")}`;
      expect(problems, how).toEqual([]);
      expect(result).toMatchObject({ lostSpans: 0, doubledSpans: 0, strayObjects: 0 });
      expect(result.acknowledgedSpans, how).toBeGreaterThan(500);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
);
