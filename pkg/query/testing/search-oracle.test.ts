import { expect, it, inject } from "vitest";
import { checkSearches } from "./search-oracle.ts";

const seed = Number(process.env.SEED ?? 1);
const dataSets = 40 * inject("depth");
const queriesPerSet = 100;

it("a search equals the oracle for any distribution of spans", async () => {
  const outcome = await checkSearches({ seed, from: 0, to: dataSets, queriesPerSet });
  console.log(`searches: seed ${seed}, ${JSON.stringify(outcome)}`);
  const { found, nothing, impossible } = outcome;
  expect(found + nothing + impossible).toBe(dataSets * queriesPerSet);
  expect(found).toBeGreaterThan(dataSets);
}, 600_000);
