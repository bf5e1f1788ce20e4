import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Latencies } from "./latency.ts";

test("percentiles are those of a sorted list, at most 2 % larger", () => {
  const ms = fc.double({ min: 0.01, max: 1e6, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(ms, { minLength: 1 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (list, share) => {
        const latencies = new Latencies();
        for (const value of list) latencies.add(value);
        const sorted = [...list].sort((a, b) => a - b);
        const exact = sorted[Math.ceil(list.length * share) - 1];
        const found = latencies.percentileMs(share);
        expect(found).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
        expect(found).toBeLessThanOrEqual(exact * 1.02 * (1 + 1e-9));
      },
    ),
  );
});

test("without values, percentiles are 0", () => {
  expect(new Latencies().percentileMs(0.99)).toBe(0);
});
