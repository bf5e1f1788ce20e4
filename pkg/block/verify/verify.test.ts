import fc from "fast-check";
import { afterAll, describe, expect, inject, it } from "vitest";
import { randomWire } from "#pkg/otlp/random-otlp.testing.ts";
import { commitOf, cutRequests, storeOf, testKey } from "#pkg/block/block.testing.ts";
import { BlockVerifier } from "./verify.ts";

const verifier = new BlockVerifier();
afterAll(async () => {
  await verifier.close();
});

describe("verifyBlock", () => {
  it("finds nothing wrong with any block that is written", async () => {
    const requests = fc.array(randomWire, { minLength: 1, maxLength: 6 });
    const shape = fc.record({
      rowGroupSpans: fc.integer({ min: 1, max: 40 }),
      count: fc.constantFrom(1, 2, 4),
      plausibleFromNano: fc.constantFrom(0n, 2n ** 62n),
    });
    await fc.assert(
      fc.asyncProperty(requests, shape, async (sent, { count, ...order }) => {
        for (let index = 0; index < count; index++) {
          const partition = { index, count };
          const bytes = sent.map((request) => request.bytes);
          const block = cutRequests(bytes, { ...order, partition });
          if (block === undefined) continue;
          const store = await storeOf(block.bytes);
          const file = commitOf(block, partition);
          expect(await verifier.verify({ store, key: testKey, file })).toEqual([]);
        }
      }),
      { numRuns: 15 * inject("depth") },
    );
  });
});
