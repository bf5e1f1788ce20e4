/**
 * The soak (10 minutes, or SPOOR_SOAK such as `1m`) and a minute of overload. An hour:
 * `npm run soak -- --duration 1h`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readStored } from "#integration/parts/stored.ts";
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

it("half of what it can take, for long: nothing lost, memory flat, verify clean", async () => {
  const result = await runSoak({ dir, durationMs, print });
  for (const line of summaryLines(result)) print(line);
  expect(soakProblems(result)).toEqual([]);
});

/** Heads, log and receivers of that server are bounded to 320 MiB; the rest is code and WASM. */
const rssBytesMax: number = 2 * 1024 ** 3;

it("twice what it can take, for a minute: pushed back, bounded, complete, well after", async () => {
  const overloadMs = Math.min(durationMs, 60_000);
  const { load, samples, verify, serverExitCode, dataDir } = await runOverload(
    dir,
    overloadMs,
    print,
  );
  const { summary } = load;
  print(JSON.stringify(summary));
  // Nothing was refused for good: all of it was told to come again, and came.
  expect(Object.values(summary.refusedRequests).reduce((a, b) => a + b, 0)).toBeGreaterThan(0);
  expect(summary.rejectedSpans).toBe(0);
  expect(summary.givenUpSpans).toBe(0);
  expect(load.code).toBe(0);
  expect(Math.max(...samples.map(({ rssBytes }) => rssBytes))).toBeLessThan(rssBytesMax);
  expect(verify.text).not.toContain("FAIL");
  expect(verify.code).toBe(0);
  expect(serverExitCode).toBe(0);
  const { counts } = await readStored(dataDir, "load");
  expect(counts.size).toBe(summary.acknowledgedSpans);
  expect([...counts.values()].filter((count) => count > 1)).toEqual([]);
});
