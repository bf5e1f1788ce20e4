/**
 * `npm run crash -- --rounds 300 [--seed N]`: kills the binary over MinIO that often, at each point
 * in turn, and prints what was acknowledged, lost and doubled. Exit code 1 if anything was.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startCrashBucket } from "./crash-bucket.ts";
import { type CrashResult, type CrashRound, runCrashRounds } from "./crash.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "300" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});
const rounds = Number(values.rounds);
const seed = Number(values.seed);
const shownEvery = 10;

function show({ round, point, isReached, acknowledgedSpans }: CrashRound): void {
  if (!isReached) process.stderr.write(`round ${round}: ${point} did not come\n`);
  if (round % shownEvery === 0) {
    process.stderr.write(`${round} of ${rounds} rounds, ${acknowledgedSpans} spans acknowledged\n`);
  }
}

function table(result: CrashResult): string {
  const rows: [string, string | number][] = [
    ["rounds", result.rounds],
    ...Object.entries(result.kills).map(([point, kills]): [string, number] => {
      return [`killed at: ${point}`, kills];
    }),
    ["spans acknowledged", result.acknowledgedSpans],
    ["spans lost", result.lostSpans],
    ["spans doubled", result.doubledSpans],
    ["blocks", result.blocks],
    ["objects that no commit names", result.strayObjects],
    ["answers that were wrong", result.problems.length],
    ["largest log, bytes", result.logBytesMax],
    ["seed", seed],
  ];
  const lines = rows.map(([name, value]) => `| ${name} | ${value} |`);
  return ["| what | number |", "|---|---|", ...lines, ""].join("\n");
}

const dir: string = await mkdtemp(join(tmpdir(), "spoor-crash-"));
const bucket: Awaited<ReturnType<typeof startCrashBucket>> = await startCrashBucket(dir);
try {
  const result = await runCrashRounds({ rounds, seed, dir, bucket, onRound: show });
  process.stdout.write(table(result));
  for (const problem of result.problems.slice(0, 20)) process.stderr.write(`${problem}\n`);
  const wrong = result.lostSpans + result.doubledSpans + result.strayObjects;
  process.exitCode = wrong + result.problems.length === 0 ? 0 : 1;
} finally {
  await bucket.stop();
  await rm(dir, { recursive: true, force: true });
}
