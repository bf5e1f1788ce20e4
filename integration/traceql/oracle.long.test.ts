/** Ten times the random data sets of `npm test`, on two threads. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import type { SearchOutcome } from "#pkg/query/testing/search-oracle.ts";
import { allPairs, type OracleOutcome } from "#pkg/engine/testing/oracle-check.ts";
import type { OracleTask } from "./oracle-worker.ts";

const dataSets = 2000;
/** Another one each time, printed before anything can fail; `SEED=N` repeats it. */
const seed = Number(process.env.SEED ?? 1 + Math.floor(Math.random() * 2 ** 31));
console.log(`oracle: SEED=${seed}`);

/** The halves of the data sets, each on a thread. */
async function runHalves<T>(what: OracleTask["what"], queriesPerSet: number): Promise<T[]> {
  const half = dataSets / 2;
  const runs = [0, half].map((from) => ({ seed, from, to: from + half, queriesPerSet }));
  return await Promise.all(runs.map((run) => runOnThread<T>({ what, run })));
}

async function runOnThread<T>(workerData: OracleTask): Promise<T> {
  const worker = new Worker(new URL("./oracle-worker.ts", import.meta.url), { workerData });
  try {
    const [outcome] = (await once(worker, "message")) as [T];
    return outcome;
  } finally {
    await worker.terminate();
  }
}

test("2,000 data sets x 100 conditions over heads and blocks agree with the oracle", async () => {
  const queriesPerSet = 100;
  const outcomes = await runHalves<OracleOutcome>("filters", queriesPerSet);
  const asked = outcomes.reduce((sum, { hits, nothing, error }) => sum + hits + nothing + error, 0);
  const covered = new Set(outcomes.flatMap((outcome) => [...outcome.covered]));
  console.log(`filters: seed ${seed}, ${dataSets} data sets, ${asked} conditions`);
  expect(asked).toBe(dataSets * queriesPerSet);
  expect(
    allPairs().filter((pair) => !covered.has(pair)),
    `seed ${seed}`,
  ).toEqual([]);
});

test("2,000 data sets x 100 searches over any mix of them agree with the oracle", async () => {
  const queriesPerSet = 100;
  const outcomes = await runHalves<SearchOutcome>("searches", queriesPerSet);
  const sum = (of: (outcome: SearchOutcome) => number): number =>
    outcomes.reduce((total, outcome) => total + of(outcome), 0);
  const asked = sum(({ found, nothing, impossible }) => found + nothing + impossible);
  console.log(`searches: seed ${seed}, ${dataSets} data sets, ${asked} searches`);
  expect(asked).toBe(dataSets * queriesPerSet);
  expect(sum(({ found }) => found)).toBeGreaterThan(dataSets);
});
