/**
 * `npm run crash -- --rounds 300 [--seed N]`: kills the binary with MinIO in that many rounds, at
 * each point in turn, and prints the numbers of acknowledged, lost and duplicated spans. Exit code
 * 1 if a span was lost or duplicated, or there was another problem.
 * `--case aside`: content that is hard to encode, and records that are retried from quarantine.
 * `--case paused`: the binary is paused, another process takes over, then the first one resumes.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runFlags, wrongFlags } from "#integration/parts/run-flags.ts";
import { runQuarantineRounds } from "./aside.ts";
import { startCrashBucket } from "./crash-bucket.ts";
import { type CrashResult, type CrashRound, runCrashRounds } from "./crash.ts";
import { type PausedRound, runPausedRounds } from "./paused.ts";

const usage = `npm run crash -- [--case points|aside|paused] [--rounds N] [--seed N]

  --case points  kills the binary over MinIO, at each named point in turn (default)
  --case aside   content that is hard to encode, and records put back from quarantine
  --case paused  the binary is paused, another one takes over, then the first one wakes up
  --rounds N     how many rounds (default 300)
  --seed N       what load and moments are made from (default: from the time)

Exit code 1 if a span was lost or doubled, or an answer was wrong.`;

const values = runFlags(usage, {
  rounds: { type: "string", default: "300" },
  case: { type: "string", default: "points" },
  seed: { type: "string", default: String(Date.now() % 1_000_000) },
});
const rounds = Number(values.rounds);
const seed = Number(values.seed);
const shownEvery = 10;

function show({ round, point, isReached, acknowledgedSpans }: CrashRound): void {
  if (!isReached) process.stderr.write(`round ${round}: ${point} was not reached\n`);
  if (round % shownEvery === 0) {
    process.stderr.write(`${round} of ${rounds} rounds, ${acknowledgedSpans} spans acknowledged\n`);
  }
}

/** Attribute keys of one request: more than the maximum arguments of a JavaScript call. */
const quarantineKeys = 600_000;

function table(result: CrashResult): string {
  return tableOf([
    ["rounds", result.rounds],
    ...Object.entries(result.kills).map(([point, kills]): [string, number] => {
      return [`killed at: ${point}`, kills];
    }),
    ["spans acknowledged", result.acknowledgedSpans],
    ["spans lost", result.lostSpans],
    ["spans doubled", result.doubledSpans],
    ["blocks", result.blocks],
    ["objects that no commit names", result.strayObjects],
    ["problems", result.problems.length],
    ["largest log, bytes", result.logBytesMax],
    ["seed", seed],
  ]);
}

function tableOf(rows: readonly [string, string | number][]): string {
  const lines = rows.map(([name, value]) => `| ${name} | ${value} |`);
  return ["| what | number |", "|---|---|", ...lines, ""].join("\n");
}

/** Runs the case; returns the number of problems. */
async function runPoints(dir: string): Promise<number> {
  const bucket = await startCrashBucket(dir);
  try {
    const result = await runCrashRounds({ rounds, seed, dir, bucket, onRound: show });
    process.stdout.write(table(result));
    return report(result.problems, [result.lostSpans, result.doubledSpans, result.strayObjects]);
  } finally {
    await bucket.stop();
  }
}

/** Runs the case; returns the number of problems. */
async function runQuarantine(dir: string): Promise<number> {
  const result = await runQuarantineRounds({ rounds, seed, dir, keys: quarantineKeys });
  const { problems, ...counts } = result;
  process.stdout.write(tableOf([...Object.entries(counts), ["seed", seed]]));
  const { lostSpans, doubledSpans, strayObjects, leftInQuarantine } = counts;
  return report(problems, [lostSpans, doubledSpans, strayObjects, leftInQuarantine]);
}

/** Runs the case; returns the number of problems. */
async function runPaused(dir: string): Promise<number> {
  const onRound = ({ round, acknowledgedSpans, lateResponses }: PausedRound): void => {
    const late = JSON.stringify(lateResponses);
    process.stderr.write(`${round}: ${acknowledgedSpans} acknowledged, late responses ${late}\n`);
  };
  const { problems, lateResponses, ...counts } = await runPausedRounds({
    rounds,
    seed,
    dir,
    onRound,
  });
  const late = JSON.stringify(lateResponses);
  process.stdout.write(
    tableOf([...Object.entries(counts), ["responses after resuming", late], ["seed", seed]]),
  );
  return report(problems, [counts.lostSpans, counts.doubledSpans, counts.strayObjects]);
}

function report(problems: readonly string[], wrong: readonly number[]): number {
  for (const problem of problems.slice(0, 20)) process.stderr.write(`${problem}\n`);
  return wrong.reduce((sum, count) => sum + count, problems.length);
}

const cases: Readonly<Record<string, (dir: string) => Promise<number>>> = {
  points: runPoints,
  aside: runQuarantine,
  paused: runPaused,
};
if (!Object.hasOwn(cases, values.case)) wrongFlags(usage, `--case ${values.case} is no case`);
for (const [name, value] of Object.entries({ rounds, seed })) {
  if (!Number.isSafeInteger(value) || value < 0) wrongFlags(usage, `--${name} is no number`);
}
const dir: string = await mkdtemp(join(tmpdir(), "spoor-crash-"));
try {
  process.exitCode = (await cases[values.case](dir)) === 0 ? 0 : 1;
} finally {
  await rm(dir, { recursive: true, force: true });
}
