/**
 * `npm run simulate -- [--seed N] [--minutes M] [--runs R] [--trace]`: simulates M virtual minutes,
 * R times with consecutive seeds, and prints the results. Exit code 1 if there was a problem.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runFlags } from "#integration/parts/run-flags.ts";
import { simulate } from "./simulation.ts";

const usage = `npm run simulate -- [--seed N] [--minutes M] [--runs R] [--trace]

  --seed N     chooses everything that happens (default: from the time)
  --minutes M  virtual minutes (default 1000)
  --runs R     so many runs, with seeds that follow each other (default 1)
  --trace      print each line of what happens

Exit code 1 if anything was wrong.`;

const values = runFlags(usage, {
  seed: { type: "string", default: String(Date.now() % 1_000_000) },
  minutes: { type: "string", default: "1000" },
  runs: { type: "string", default: "1" },
  trace: { type: "boolean", default: false },
});
const firstSeed = Number(values.seed);
const minutes = Number(values.minutes);
const onLine = values.trace
  ? (line: string): void => void process.stderr.write(`${line}\n`)
  : undefined;

for (let seed = firstSeed; seed < firstSeed + Number(values.runs); seed++) {
  const dir = await mkdtemp(join(tmpdir(), "spoor-simulation-"));
  try {
    const startedMs = performance.now();
    const { lastLines, ...result } = await simulate({ seed, minutes, dir, onLine });
    const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
    process.stdout.write(`${JSON.stringify({ ...result, seconds }, undefined, 2)}\n`);
    if (result.problems.length === 0) continue;
    process.stderr.write(`${lastLines.join("\n")}\n`);
    process.exitCode = 1;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
