/**
 * The parser survives a million damaged queries: none hangs or crashes it, every error has a
 * position, and what is still a query means the same as its canonical text. 10,000 of them run in
 * `npm test`.
 */
import { expect, test } from "vitest";
import { checkMutations } from "#pkg/traceql/mutations.testing.ts";
import { goldenQueries } from "#pkg/traceql/traceql.testing.ts";

const mutationCount = 1_000_000;

test("a million damaged queries are queries or errors with a position", () => {
  const seed = 1 + Math.floor(Math.random() * 2 ** 31);
  const validCount = checkMutations(goldenQueries(), mutationCount, seed);
  expect(validCount, `seed ${seed}`).toBeGreaterThan(mutationCount / 40);
});
