/**
 * The soak (10 minutes, or SPOOR_SOAK such as `1m`) and a minute of overload; soak.load.test.ts has
 * a sample of the overload. For an hour, run `npm run soak -- --duration 1h`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { overloadProblems } from "./overload-problems.ts";
import { runOverload, runSoak } from "./soak.ts";
import { soakProblems, summaryLines } from "./report.ts";
import { parseDuration } from "#pkg/config/duration.ts";

let dir: string;
const durationMs: number = parseDuration(process.env["SPOOR_SOAK"] ?? "10m");

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-soak-"));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

it("at half its limit the server loses nothing, memory stays flat, verify passes", async () => {
  const result = await runSoak({ dir, durationMs, print });
  for (const line of summaryLines(result)) print(line);
  expect(soakProblems(result)).toEqual([]);
});

it("at twice its limit the server pushes back, stays bounded, loses nothing, recovers", async () => {
  const overload = await runOverload(dir, Math.min(durationMs, 60_000), print);
  print(JSON.stringify(overload.load.summary));
  expect(await overloadProblems(overload)).toEqual([]);
});
