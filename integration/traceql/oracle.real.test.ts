/** Ten times the random data sets and conditions of `npm test`, on two threads. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { allPairs, type OracleOutcome, type OracleRun } from "#pkg/engine/oracle-check.ts";

const dataSets = 2000;
const queriesPerSet = 100;

async function runOnThread(run: OracleRun): Promise<OracleOutcome> {
  const worker = new Worker(new URL("./oracle-worker.ts", import.meta.url), { workerData: run });
  try {
    const [outcome] = (await once(worker, "message")) as [OracleOutcome];
    return outcome;
  } finally {
    await worker.terminate();
  }
}

test("2,000 data sets x 100 conditions agree with the oracle", async () => {
  const seed = Number(process.env.SEED ?? 1 + Math.floor(Math.random() * 2 ** 31));
  const half = dataSets / 2;
  const outcomes = await Promise.all(
    [0, half].map((from) => runOnThread({ seed, from, to: from + half, queriesPerSet })),
  );
  const asked = outcomes.reduce((sum, { hits, nothing, error }) => sum + hits + nothing + error, 0);
  const covered = new Set(outcomes.flatMap((outcome) => [...outcome.covered]));
  console.log(
    `filters: seed ${seed}, ${dataSets} data sets, ${asked} conditions, ` +
      `${covered.size} kinds of conditions`,
  );
  expect(asked).toBe(dataSets * queriesPerSet);
  expect(
    allPairs().filter((pair) => !covered.has(pair)),
    `seed ${seed}`,
  ).toEqual([]);
});
