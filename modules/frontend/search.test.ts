import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { SpanSpec } from "#pkg/engine/testing.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import { oracleSearch } from "./oracle.ts";
import { searchNewest, type SearchQuery, type SearchResult } from "./search.ts";
import { broken, headShard, tenant, TestSpans } from "./testing.ts";

const { signal } = new AbortController();

/** Few ids, few times: traces with many spans, spans that tie, spans that come twice. */
const spanSpec = fc
  .record({
    trace: fc.integer({ min: 1, max: 12 }),
    span: fc.integer({ min: 1, max: 40 }),
    isRoot: fc.boolean(),
    service: fc.constantFrom(undefined, "", "a", "b", "__proto__"),
    name: fc.constantFrom(undefined, "x", "y"),
    start: fc.integer({ min: 0, max: 60 }),
    duration: fc.integer({ min: -3, max: 30 }),
    isError: fc.boolean(),
    // A field that a search does not show: spans that differ only in it are two spans.
    tag: fc.constantFrom("", "", "", "1"),
  })
  .map(({ trace, span, isRoot, service, name, start, duration, isError, tag }): SpanSpec => ({
    traceId: (trace * 7919).toString(16).padStart(32, "0"),
    spanId: span.toString(16).padStart(16, "0"),
    parentId: isRoot ? undefined : "00000000000000ff",
    service: service ?? "",
    name: name ?? "",
    startNano: BigInt(start),
    endNano: BigInt(start + duration),
    isError,
    attributes: tag === "" ? {} : { tag },
  }))
  // An end before 0 would be a huge unsigned number on the wire.
  .filter(({ endNano }) => endNano >= 0n);

/** Spans that were taken together: by N partitions, each a head or a block. */
interface Chunk {
  specs: SpanSpec[];
  partitions: number;
  rowGroupSpans: number;
  isBlock: boolean;
}

/** Chunks, and spans of theirs that were sent again, some with another tag. */
function chunks(blocks: fc.Arbitrary<boolean>): fc.Arbitrary<Chunk[]> {
  const repeat = fc.record({ from: fc.nat(), to: fc.nat(), isSame: fc.boolean() });
  return fc
    .tuple(fc.array(chunk(blocks), { maxLength: 5 }), fc.array(repeat, { maxLength: 6 }))
    .map(([fresh, repeats]) => {
      const all = fresh.map((one) => ({ ...one, specs: [...one.specs] }));
      const specs = all.flatMap((one) => one.specs);
      for (const { from, to, isSame } of specs.length === 0 ? [] : repeats) {
        const again = specs[from % specs.length];
        const attributes = isSame ? again.attributes : { tag: "again" };
        all[to % all.length].specs.push({ ...again, attributes });
      }
      return all;
    });
}

function chunk(blocks: fc.Arbitrary<boolean>): fc.Arbitrary<Chunk> {
  return fc.record({
    specs: fc.array(spanSpec, { minLength: 1, maxLength: 25 }),
    partitions: fc.constantFrom(1, 2, 4, 8),
    rowGroupSpans: fc.integer({ min: 1, max: 12 }),
    isBlock: blocks,
  });
}

async function build(all: readonly Chunk[]): Promise<TestSpans> {
  const spans = new TestSpans();
  for (const [number, { specs, partitions, rowGroupSpans, isBlock }] of all.entries()) {
    for (let index = 0; index < partitions; index++) {
      const mine = specs.filter(
        ({ traceId }) => partitionOf(Buffer.from(traceId, "hex"), 0, partitions) === index,
      );
      if (mine.length === 0) continue;
      const partition = { index, count: partitions };
      const name = `${number}-${index}`;
      if (isBlock) await spans.addBlock(name, mine, { partition, rowGroupSpans });
      else spans.heads.push(headShard(mine, { partition, appId: name, toOffset: 1 }));
    }
  }
  return spans;
}

const queryOf = fc.record({
  start: fc.integer({ min: 0, max: 50 }),
  length: fc.integer({ min: 1, max: 100 }),
  limit: fc.integer({ min: 1, max: 15 }),
  spansPerTrace: fc.integer({ min: 0, max: 5 }),
  concurrency: fc.integer({ min: 1, max: 5 }),
});

function search(spans: TestSpans, query: Partial<SearchQuery> = {}): Promise<SearchResult> {
  const whole = { tenant, startNano: 0n, endNano: 1000n, limit: 20, spansPerTrace: 3, signal };
  return searchNewest(spans.both, { ...whole, ...query }, { concurrency: 3 });
}

describe("searchNewest", () => {
  it.each([
    ["heads", fc.constant(false), 1000],
    ["blocks and heads", fc.boolean(), 60],
  ])("gives the oracle's answer however spans are cut: %s", async (_, blocks, numRuns) => {
    await fc.assert(
      fc.asyncProperty(
        chunks(blocks),
        queryOf,
        async (all, { start, length, limit, spansPerTrace, concurrency }) => {
          const spans = await build(all);
          const range = { startNano: BigInt(start), endNano: BigInt(start + length) };
          const query = { tenant, ...range, limit, spansPerTrace, signal };
          const result = await searchNewest(spans.both, query, { concurrency });
          const specs = all.flatMap((one) => one.specs);
          expect(result.traces).toEqual(oracleSearch(specs, range, { limit, spansPerTrace }));
          expect(result.failures).toEqual([]);
          expect(result.stats.completedJobs).toBe(result.stats.totalJobs);
          expect(spans.pins).toBe(0);
        },
      ),
      { numRuns },
    );
  });
});
