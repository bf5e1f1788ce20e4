import { expect, it, inject } from "vitest";
import { allPairs, checkAgainstOracle } from "#pkg/engine/testing/oracle-check.ts";

const seed = Number(process.env.SEED ?? 2);
const dataSets = 65 * inject("depth");
const queriesPerSet = 100;

it("filters agree with the oracle over heads and blocks, and pruning loses nothing", async () => {
  const run = { seed, from: 0, to: dataSets, queriesPerSet };
  const { covered, ...counts } = await checkAgainstOracle(run);
  const missing = allPairs().filter((pair) => !covered.has(pair));
  console.log(
    `filters: seed ${seed}, ${dataSets} data sets x ${queriesPerSet} conditions, ` +
      `${JSON.stringify(counts)}, ${allPairs().length - missing.length} of ` +
      `${allPairs().length} pairs of operator, type and scope covered`,
  );
  expect(missing).toEqual([]);
  expect(counts.hits + counts.nothing + counts.error).toBe(dataSets * queriesPerSet);
  expect(counts.pruned).toBeGreaterThan(0);
}, 600_000);
