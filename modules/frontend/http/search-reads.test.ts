import { planOf } from "#pkg/engine/condition/plan.ts";
import { expect, it } from "vitest";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { parseLeniently } from "#pkg/traceql/traceql.ts";
import { place } from "./http.testing.ts";
import { searchNewest } from "#pkg/query/search.ts";
import { tenant, TestSpans } from "#pkg/query/testing/spans.ts";

const { signal } = new AbortController();
const blocks = 8;
const tracesPerBlock = 90;

/** Traces that look new in each block, and begin in the oldest one. */
function spansOf(block: number): SpanSpec[] {
  return Array.from({ length: tracesPerBlock }, (_, i): SpanSpec => {
    const startNano = BigInt(block * 1000 + i);
    const trace = block * tracesPerBlock + i;
    return {
      traceId: trace.toString(16).padStart(32, "0"),
      spanId: (block + 1).toString(16).padStart(16, "0"),
      service: "shop",
      name: "late",
      startNano,
      endNano: startNano + 1n,
    };
  });
}

async function makeSpans(): Promise<TestSpans> {
  const spans = new TestSpans();
  const begins: SpanSpec[] = [];
  for (let block = 1; block <= blocks; block++) {
    const own = spansOf(block);
    // The newest half of each block.
    begins.push(
      ...own.slice(tracesPerBlock / 2).map((one) => {
        return { ...one, spanId: "00000000000000ff", name: "first", startNano: 1n, endNano: 2n };
      }),
    );
    await spans.addBlock(`block-${block}`, own, { ...place, rowGroupSpans: 1000 });
  }
  await spans.addBlock("oldest", begins, { ...place, rowGroupSpans: 1000 });
  return spans;
}

interface Cost {
  lists: number;
  details: number;
  bytes: number;
  jobs: number;
  first: string;
}

async function costOf(limit: number): Promise<Cost> {
  const spans = await makeSpans();
  const asked: string[] = [];
  spans.onAsk = (question, { name }) => asked.push(`${question} ${name}`);
  const { filter } = parseLeniently('{ name = "late" }');
  const query = {
    tenant,
    startNano: 0n,
    endNano: 2n ** 62n,
    limit,
    spansPerTrace: 1,
    plan: planOf(filter),
    signal,
  };
  const bounds = { memoryBytesMax: 2 ** 26, jobBytesMax: 1, jobRowGroupsMax: 1 };
  const { traces, plan, stats, failures } = await searchNewest(spans.both, query, {
    concurrency: 4,
    ...bounds,
  });
  expect(failures).toEqual([]);
  expect(traces.length).toBe(limit);
  const lists = asked.filter((one) => one.startsWith("list"));
  // What a shard has listed it is not asked again.
  expect(new Set(lists).size).toBe(lists.length);
  return {
    lists: lists.length,
    details: asked.length - lists.length,
    bytes: stats.inspectedBytes,
    jobs: plan.jobs,
    first: traces[0].traceId,
  };
}

it("a smaller limit reads no more than a larger one, where traces turn out to be older", async () => {
  const [one, ten, twenty, many] = [
    await costOf(1),
    await costOf(10),
    await costOf(20),
    await costOf(100),
  ];
  expect([one.first, ten.first, twenty.first]).toEqual([many.first, many.first, many.first]);
  for (const few of [one, ten]) {
    expect(few.lists).toBeLessThanOrEqual(many.lists);
    expect(few.details).toBeLessThanOrEqual(twenty.details);
    expect(few.bytes).toBeLessThanOrEqual(twenty.bytes);
    expect(few.jobs).toBeLessThanOrEqual(twenty.jobs);
    // Those that moved are not asked for one by one: twice at the most.
    expect(few.details).toBeLessThanOrEqual(2 * (blocks + 1));
  }
});
