import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ShardRef } from "#pkg/questions/shards.ts";
import { jobsOf } from "./shard-jobs.ts";

function shardOf(sizeBytes: number): { shard: ShardRef } {
  const kind = sizeBytes === 0 ? "head" : "rowGroup";
  return { shard: { kind, sizeBytes } as ShardRef };
}

function sizesOf(
  sizes: readonly number[],
  bounds: { jobBytesMax: number; jobRowGroupsMax: number },
): number[][] {
  const jobs = jobsOf(sizes.map(shardOf), bounds);
  return jobs.map((job) => job.map(({ shard }) => shard.sizeBytes));
}

describe("jobsOf", () => {
  it("joins small row groups, and leaves heads and large ones alone", () => {
    const bounds = { jobBytesMax: 10, jobRowGroupsMax: 3 };
    const sizes = [3, 3, 0, 3, 2, 2, 2, 50, 4, 4, 4, 9, 9];
    expect(sizesOf(sizes, bounds)).toEqual([
      [3, 3, 3],
      [0],
      [2, 2, 2],
      [50],
      [4, 4],
      [4],
      [9],
      [9],
    ]);
  });

  it("splits a few row groups into enough jobs for all threads", () => {
    const bounds = { jobBytesMax: 1000, jobRowGroupsMax: 64 };
    expect(sizesOf([5, 5, 5, 5, 5, 5, 5, 5], bounds)).toEqual([
      [5, 5],
      [5, 5],
      [5, 5],
      [5, 5],
    ]);
    expect(sizesOf([5, 5], bounds)).toEqual([[5], [5]]);
  });

  it("keeps all requests in order, within the limits", () => {
    const bounds = fc.record({
      jobBytesMax: fc.integer({ min: 1, max: 100 }),
      jobRowGroupsMax: fc.integer({ min: 1, max: 10 }),
    });
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 60 })), bounds, (sizes, given) => {
        const jobs = sizesOf(sizes, given);
        const isHead = (size: number): boolean => size === 0;
        expect(jobs.flat().filter((size) => !isHead(size))).toEqual(
          sizes.filter((size) => !isHead(size)),
        );
        expect(jobs.flat()).toHaveLength(sizes.length);
        for (const job of jobs) {
          if (job.length === 1) continue;
          expect(job.some(isHead)).toBe(false);
          expect(job.length).toBeLessThanOrEqual(given.jobRowGroupsMax);
          expect(job.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(given.jobBytesMax);
        }
      }),
    );
  });
});
