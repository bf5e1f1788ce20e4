import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type SimulationResult, simulate } from "./simulation.ts";

async function run(seed: number, minutes: number): Promise<SimulationResult> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-simulation-"));
  try {
    return await simulate({ seed, minutes, dir });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

it("the same seed has the same events at the same times", { timeout: 240_000 }, async () => {
  const [first, second, other] = [await run(7, 40), await run(7, 40), await run(8, 40)];
  expect(second).toEqual(first);
  expect(other.digest).not.toBe(first.digest);
  // The run has enough events for the digest to be meaningful.
  expect(first.acknowledgedSpans).toBeGreaterThan(100);
});

it(
  "250 minutes of load, faults and restarts lose and double nothing",
  { timeout: 240_000 },
  async () => {
    const result = await run(13, 250);
    const { problems, lastLines, processEvents, acknowledgedSpans } = result;
    expect(problems, lastLines.join("\n")).toEqual([]);
    expect(result).toMatchObject({ lostSpans: 0, doubledSpans: 0, strayObjects: 0 });
    expect(acknowledgedSpans).toBeGreaterThan(2000);
    expect(processEvents.starts).toBeGreaterThan(3);
    expect(result.clockSteps).toBeGreaterThan(0);
    expect(result.blocks).toBeGreaterThan(20);
    expect(result.outcomes["trace full"]).toBeGreaterThan(50);
    expect(result.outcomes["search full"]).toBeGreaterThan(30);
  },
);
