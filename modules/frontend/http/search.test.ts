import fc from "fast-check";
import { describe, expect, it, inject } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import type { QueryPlan, SpanAttribute } from "#pkg/api/query.ts";
import { type Condition, oracleSearch } from "#pkg/query/testing/oracle.ts";
import { parseSearch } from "./params.ts";
import type { SearchQuery } from "#pkg/query/search-query.ts";
import { newestTraces, searchNewest, type SearchResult } from "#pkg/query/search.ts";
import { headShard, tenant, TestSpans } from "#pkg/query/testing/spans.ts";

const { signal } = new AbortController();
const most = { memoryBytesMax: 2 ** 28, jobBytesMax: 2 ** 22, jobRowGroupsMax: 64 };

/** Few ids, few times: traces with many spans, spans that tie, spans that come twice. */
const spanSpec = fc
  .record({
    trace: fc.integer({ min: 1, max: 12 }),
    span: fc.integer({ min: 1, max: 40 }),
    parent: fc.oneof(fc.constantFrom(undefined, 255), fc.integer({ min: 1, max: 40 })),
    service: fc.constantFrom(undefined, "", "a", "b", "__proto__"),
    name: fc.constantFrom(undefined, "x", "y"),
    start: fc.integer({ min: 0, max: 60 }),
    duration: fc.integer({ min: -3, max: 30 }),
    isError: fc.boolean(),
    // A field that a search does not show: spans that differ only in it are two spans.
    tag: fc.constantFrom("", "", "", "1"),
  })
  .map(({ trace, span, parent, service, name, start, duration, isError, tag }): SpanSpec => ({
    traceId: (trace * 7919).toString(16).padStart(32, "0"),
    spanId: span.toString(16).padStart(16, "0"),
    parentId: parent?.toString(16).padStart(16, "0"),
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

const tagOf = ({ attributes }: SpanSpec): string | undefined =>
  attributes?.tag === undefined ? undefined : String(attributes.tag);
const lengthOf = ({ startNano, endNano }: SpanSpec): bigint =>
  endNano > startNano ? endNano - startNano : 0n;
const showTag = (span: SpanSpec): SpanAttribute[] => {
  const value = tagOf(span);
  return value === undefined ? [] : [{ key: "tag", value }];
};
const showService = ({ service = "" }: SpanSpec): SpanAttribute[] => [
  { key: "service.name", value: service },
];
const showStatus = ({ isError }: SpanSpec): SpanAttribute[] => [
  { key: "status", value: isError === true ? "error" : "unset" },
];
const showNothing = (): SpanAttribute[] => [];

const endOf = (span: SpanSpec): bigint => span.startNano + lengthOf(span);
const least = (all: readonly bigint[]): bigint => all.reduce((a, b) => (b < a ? b : a));
const traceLength = (trace: readonly SpanSpec[]): bigint =>
  -least(trace.map((span) => -endOf(span))) - least(trace.map(({ startNano }) => startNano));

/** In the order that numbers trees and chooses roots. */
function inOrder(trace: readonly SpanSpec[]): SpanSpec[] {
  const key = (span: SpanSpec): string =>
    JSON.stringify([
      String(span.startNano).padStart(20, "0"),
      span.spanId,
      span.service ?? "",
      span.name ?? "",
      String(lengthOf(span)).padStart(20, "0"),
      span.isError === true ? "error" : "unset",
      span.parentId ?? "",
    ]);
  return trace.toSorted((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
}

const rootOf = (trace: readonly SpanSpec[]): SpanSpec | undefined =>
  inOrder(trace).find(({ parentId }) => parentId === undefined);

/** Of spans with one id, the first is the parent. */
function childCount(span: SpanSpec, trace: readonly SpanSpec[]): number {
  const first = inOrder(trace).find(({ spanId }) => spanId === span.spanId);
  if (first !== span) return 0;
  return trace.filter((other) => other !== span && other.parentId === span.spanId).length;
}

const showChildren = (span: SpanSpec, trace: readonly SpanSpec[]): SpanAttribute[] => [
  { key: "span:childCount", value: BigInt(childCount(span, trace)) },
];

const wholeTraceConditions: Condition[] = [
  {
    text: "{ trace:duration > 20ns }",
    holds: (_, trace) => traceLength(trace) > 20n,
    shows: showNothing,
  },
  {
    text: "{ traceDuration < 25ns && duration > 3ns }",
    holds: (span, trace) => traceLength(trace) < 25n && lengthOf(span) > 3n,
    shows: showNothing,
  },
  {
    text: '{ rootName = "x" && .tag = nil }',
    holds: (span, trace) => rootOf(trace)?.name === "x" && tagOf(span) === undefined,
    shows: showTag,
  },
  {
    text: '{ name = "y" || !(rootServiceName != "a") }',
    holds: ({ name }, trace) => name === "y" || rootOf(trace)?.service === "a",
    shows: showNothing,
  },
  {
    text: "{ span:childCount > 0 && status = error }",
    holds: (span, trace) => childCount(span, trace) > 0 && span.isError === true,
    shows: (span, trace) => [...showChildren(span, trace), ...showStatus(span)],
  },
  {
    text: "{ nestedSetParent < 0 && trace:duration >= 5ns }",
    holds: (span, trace) => span.parentId === undefined && traceLength(trace) >= 5n,
    shows: () => [{ key: "nestedSetParent", value: -1n }],
  },
  {
    text: '{ trace:id = "1eef" && name != "x" }',
    holds: ({ traceId, name }) => traceId.endsWith("1eef") && name !== "x",
    shows: showNothing,
  },
];

const conditions: Condition[] = [
  ...wholeTraceConditions,
  { text: '{ name = "x" }', holds: ({ name }) => name === "x", shows: showNothing },
  { text: "{ duration > 10ns }", holds: (span) => lengthOf(span) > 10n, shows: showNothing },
  { text: "{ span.tag != nil }", holds: (span) => tagOf(span) !== undefined, shows: showTag },
  { text: "{ .tag = nil }", holds: (span) => tagOf(span) === undefined, shows: showTag },
  { text: '{ .tag = "again" }', holds: (span) => tagOf(span) === "again", shows: showTag },
  { text: '{ .tag !~ "a.*" }', holds: (span) => tagOf(span) === "1", shows: showTag },
  {
    text: '{ resource.service.name = "a" && !(name = "y") }',
    holds: ({ service, name }) => service === "a" && name !== "y",
    shows: showService,
  },
  {
    text: '{ status = error || (.service.name =~ "__.*" && duration * 2 < 9ns) }',
    holds: (span) =>
      span.isError === true || (span.service === "__proto__" && lengthOf(span) * 2n < 9n),
    shows: (span) => [...showStatus(span), ...showService(span)],
  },
  { text: '{ name = "nobody" || .no > 1 }', holds: () => false, shows: showNothing },
];

function planFor(condition: Condition | undefined): QueryPlan | undefined {
  if (condition === undefined) return undefined;
  const { plan } = parseSearch(new URLSearchParams({ q: condition.text }), bounds);
  expect(plan).toBeDefined();
  return plan;
}

const bounds = { nowMs: 0, limitMax: 100, spansPerTraceMax: 100 };

const queryOf = fc.record({
  start: fc.integer({ min: 0, max: 50 }),
  length: fc.integer({ min: 1, max: 100 }),
  condition: fc.constantFrom<(Condition | undefined)[]>(undefined, undefined, ...conditions),
  limit: fc.integer({ min: 1, max: 15 }),
  spansPerTrace: fc.integer({ min: 0, max: 5 }),
  options: fc.record({
    concurrency: fc.integer({ min: 1, max: 5 }),
    jobBytesMax: fc.constantFrom(1, 30_000, 2 ** 22),
    isEager: fc.boolean(),
    jobRowGroupsMax: fc.constantFrom(1, 3, 64),
  }),
});

function queryFor(query: Partial<SearchQuery>): SearchQuery {
  const whole = { tenant, startNano: 0n, endNano: 1000n, limit: 20, spansPerTrace: 3, signal };
  return { ...whole, ...query };
}

async function search(spans: TestSpans, query: Partial<SearchQuery> = {}): Promise<SearchResult> {
  return await searchNewest(spans.both, queryFor(query), { concurrency: 3, ...most });
}

describe("searchNewest", () => {
  it.each([
    ["heads", fc.constant(false), 500 * inject("depth")],
    ["blocks and heads", fc.boolean(), 80 * inject("depth")],
  ])(
    "gives the oracle's answer however spans are cut: %s",
    { timeout: 300_000 },
    async (_, blocks, numRuns) => {
      await fc.assert(
        fc.asyncProperty(
          chunks(blocks),
          queryOf,
          async (all, { start, length, limit, spansPerTrace, options, condition }) => {
            const spans = await build(all);
            const range = { startNano: BigInt(start), endNano: BigInt(start + length) };
            const plan = planFor(condition);
            const query = { tenant, ...range, limit, spansPerTrace, plan, signal };
            const result = await searchNewest(spans.both, query, { ...most, ...options });
            const specs = all.flatMap((one) => one.specs);
            const asked = { limit, spansPerTrace, condition };
            expect(result.traces).toEqual(oracleSearch(specs, range, asked));
            expect(result.failures).toEqual([]);
            expect(result.stats.completedJobs).toBe(result.stats.totalJobs);
            expect(spans.pins).toBe(0);
          },
        ),
        { numRuns },
      );
    },
  );

  it("reads a head only where it is beyond the snapshot's transaction", async () => {
    const spans = new TestSpans();
    const place = { partition: { index: 0, count: 1 } };
    spans.heads = [
      headShard([spanOf(1, 10)], { ...place, appId: "log/1/0", toOffset: 5 }),
      headShard([spanOf(2, 20)], { ...place, appId: "log/1/0", toOffset: 6 }),
      headShard([spanOf(3, 30)], { ...place, appId: "other/1/0", toOffset: 1 }),
    ];
    spans.transactions.set("log/1/0", 5);
    const { traces, stats } = await search(spans);
    expect(traces.map(({ traceId }) => traceId)).toEqual([idOf(3), idOf(2)]);
    expect(stats).toMatchObject({ totalJobs: 2, completedJobs: 2, totalBlocks: 0 });
    expect(spans.calls).toEqual(["pin", "snapshot 7"]);
    expect(spans.pins).toBe(0);
  });

  it("does not read shards that cannot change the answer", async () => {
    const spans = new TestSpans();
    const asked: string[] = [];
    for (let i = 0; i < 8; i++) {
      const shard = headShard([spanOf(i + 1, i * 10)], {
        partition: { index: 0, count: 1 },
        appId: `log/1/${i}`,
        toOffset: 1,
      });
      spans.heads.push(shard);
    }
    spans.onAsk = (question, shard) => {
      if (question === "list" && shard.kind === "head") asked.push(shard.appId);
    };
    const { traces } = await searchNewest(spans.both, queryFor({ limit: 2 }), {
      concurrency: 1,
      ...most,
    });
    expect(traces.map(({ traceId }) => traceId)).toEqual([idOf(8), idOf(7)]);
    expect(asked).toEqual(["log/1/7", "log/1/6"]);
  });

  it("yields each trace once it is final, while older shards are not read yet", async () => {
    const spans = new TestSpans();
    const place = { partition: { index: 0, count: 1 }, rowGroupSpans: 100 };
    for (let i = 0; i < 20; i++) {
      await spans.addBlock(String(i).padStart(2, "0"), [spanOf(i + 1, i * 10)], place);
    }
    const listed = new Set<string>();
    spans.onAsk = (question, { name }) => {
      if (question === "list") listed.add(name);
    };
    const options = { concurrency: 1, ...most, jobRowGroupsMax: 1, isEager: true };
    const seen: [string, number][] = [];
    for await (const { traceId } of newestTraces(spans.both, queryFor({ limit: 20 }), options)) {
      seen.push([traceId, listed.size]);
    }
    expect(seen.map(([id]) => id)).toEqual(Array.from({ length: 20 }, (_, i) => idOf(20 - i)));
    expect(seen[0][1]).toBeLessThan(20);
    expect(seen.every(([, count], i) => count > i)).toBe(true);
    expect(spans.pins).toBe(0);
  });

  it("lets go of its heads when nobody wants more of its traces", async () => {
    const spans = new TestSpans();
    const place = { partition: { index: 0, count: 1 } };
    spans.heads = [
      headShard([spanOf(1, 10), spanOf(2, 20)], { ...place, appId: "a", toOffset: 1 }),
    ];
    const options = { concurrency: 1, ...most };
    for await (const { traceId } of newestTraces(spans.both, queryFor({}), options)) {
      expect(traceId).toBe(idOf(2));
      break;
    }
    expect(spans.pins).toBe(0);
  });

  it("leaves out shards and blocks outside of the range", async () => {
    const spans = new TestSpans();
    const place = { partition: { index: 0, count: 1 }, rowGroupSpans: 1 };
    await spans.addBlock("in", [spanOf(1, 10), spanOf(2, 20)], place);
    await spans.addBlock("before", [spanOf(3, 1)], place);
    await spans.addBlock("after", [spanOf(4, 40)], place);
    const { traces, stats } = await search(spans, { startNano: 15n, endNano: 40n });
    expect(traces.map(({ traceId }) => traceId)).toEqual([idOf(2)]);
    expect(stats).toMatchObject({ totalBlocks: 1, totalJobs: 1 });
  });

  it("answers with the rest when a block cannot be read, and names it", async () => {
    const spans = new TestSpans();
    const place = { partition: { index: 0, count: 1 }, rowGroupSpans: 100 };
    await spans.addBlock("good", [spanOf(1, 10)], place);
    const bad = await spans.addBlock("bad", [spanOf(2, 20)], place);
    spans.broken.set(bad.path, new SpoorError("Corrupt", "checksum does not match"));
    const { traces, stats, failures } = await search(spans);
    expect(traces.map(({ traceId }) => traceId)).toEqual([idOf(1)]);
    expect(failures).toEqual([
      { reason: "Corrupt", message: `block ${bad.path} row group 0: checksum does not match` },
    ]);
    expect(stats).toMatchObject({ totalJobs: 2, completedJobs: 1 });
  });

  it("joins small row groups to jobs, few at first, and names the one that fails", async () => {
    const spans = new TestSpans();
    const place = { partition: { index: 0, count: 1 }, rowGroupSpans: 100 };
    const names = Array.from({ length: 40 }, (_, i) => `${100 + i}`);
    for (const [i, name] of names.entries()) {
      const block = await spans.addBlock(name, [spanOf(i + 1, i * 10)], place);
      const isBad = name === "105";
      if (isBad) spans.broken.set(block.path, new SpoorError("Corrupt", "checksum is wrong"));
    }
    const blockBytes = spans.blocks[0].sizeBytes;
    const options = { concurrency: 4, memoryBytesMax: 2 ** 28, jobRowGroupsMax: 64 };
    const run = async (query: Partial<SearchQuery>): Promise<SearchResult> => {
      spans.jobs.length = 0;
      const jobs = { ...options, jobBytesMax: blockBytes * 10.5 };
      return await searchNewest(spans.both, queryFor(query), jobs);
    };
    const newest = await run({ limit: 2 });
    expect(newest.traces.map(({ traceId }) => traceId)).toEqual([idOf(40), idOf(39)]);
    expect(spans.jobs.slice(0, 4).map((job) => job.length)).toEqual([1, 1, 1, 1]);
    const { askedShards, jobs } = newest.plan;
    expect([askedShards, jobs]).toEqual([4, spans.jobs.length]);
    const all = await run({ limit: 100 });
    const found = all.traces.map(({ traceId }) => traceId);
    expect(found).toEqual(
      names.flatMap((name, i) => (name === "105" ? [] : idOf(i + 1))).reverse(),
    );
    expect(all.failures.map(({ message }) => message)).toEqual([
      expect.stringMatching(/105.parquet row group 0: checksum is wrong/),
    ]);
    expect(all.stats).toMatchObject({ totalJobs: 40, completedJobs: 39 });
    const expected = [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 5, 5, 5, 5, 1, 1, 1, 1];
    expect(spans.jobs.slice(0, expected.length).map((job) => job.length)).toEqual(expected);
    const listed = spans.jobs.slice(0, expected.length).flat();
    expect(new Set(listed).size).toBe(40);
  });

  it("asks who holds a part of a trace, not for details, where only the whole can tell", async () => {
    const spans = new TestSpans();
    const place = { partition: { index: 0, count: 1 }, rowGroupSpans: 100 };
    for (let i = 0; i < 10; i++) {
      await spans.addBlock(`${i}`, [{ ...spanOf(i + 1, i * 10), name: "x" }], place);
    }
    const late = { ...spanOf(3, 95), spanId: "00000000000000aa", name: "y" };
    await spans.addBlock("late", [late], place);
    const condition = wholeTraceConditions[0];
    const plan = planFor({ ...condition, text: '{ trace:duration > 20ns && name = "x" }' });
    const { traces, stats, failures } = await search(spans, { plan, limit: 5 });
    expect(traces.map(({ traceId }) => traceId)).toEqual([idOf(3)]);
    expect(failures).toEqual([]);
    expect(stats).toMatchObject({ totalJobs: 11, completedJobs: 11, inspectedTraces: 10 });
  });

  it("says what is missing when only the details cannot be read", async () => {
    const spans = new TestSpans();
    const place = { partition: { index: 0, count: 1 }, rowGroupSpans: 100 };
    const bad = await spans.addBlock("bad", [spanOf(1, 10), spanOf(2, 20)], place);
    await spans.addBlock("good", [{ ...spanOf(2, 25), spanId: "00000000000000aa" }], place);
    spans.onAsk = (question, { name }) => {
      if (question !== "list" && name === bad.shards[0].name) throw new Error("gone");
    };
    const { traces, failures } = await search(spans);
    expect(traces).toMatchObject([{ traceId: idOf(2), startNano: 25n, matchedSpans: 1 }]);
    expect(failures).toHaveLength(1);
  });

  it("carries what was missing from the start", async () => {
    const spans = new TestSpans();
    const place = { partition: { index: 0, count: 1 }, rowGroupSpans: 100 };
    await spans.addBlock("good", [spanOf(1, 10)], place);
    spans.failed = [{ path: "blocks/x", message: "block blocks/x: no tags" }];
    spans.incomplete = ["3 records are not readable yet"];
    const { traces, stats, failures } = await search(spans);
    expect(traces).toHaveLength(1);
    expect(failures.map(({ message }) => message)).toEqual([
      "3 records are not readable yet",
      "block blocks/x: no tags",
    ]);
    expect(stats).toMatchObject({ totalJobs: 3, completedJobs: 1 });
  });

  it("says that spans of its range are in quarantine, and not those of another", async () => {
    const spans = new TestSpans();
    const beside = { traceIds: new Uint8Array(16) };
    const far = 10n ** 18n;
    spans.aside = [
      { ...beside, minStartNano: 5n, maxEndNano: 6n },
      { ...beside, minStartNano: -far, maxEndNano: far },
      { ...beside, minStartNano: 8n * far, maxEndNano: 8n * far + 1n },
    ];
    const { failures } = await search(spans);
    expect(failures).toEqual([
      {
        reason: "quarantine",
        message: '2 log records are in quarantine, see "spoor quarantine ls"',
      },
    ]);
  });

  it("returns a partial result when heads or blocks are out of reach", async () => {
    const spans = new TestSpans();
    const partition = { index: 0, count: 1 };
    await spans.addBlock("old", [spanOf(1, 10)], { partition, rowGroupSpans: 100 });
    spans.heads = [headShard([spanOf(2, 20)], { partition, appId: "a", toOffset: 1 })];
    spans.liveError = new SpoorError("Unavailable", "no ingester");
    const stored = await search(spans);
    expect(stored.traces.map(({ traceId }) => traceId)).toEqual([idOf(1)]);
    expect(stored.failures[0].message).toBe("live spans could not be read: no ingester");
    expect(spans.calls).toContain("snapshot -1");
    spans.liveError = undefined;
    spans.storedError = new SpoorError("Unavailable", "no bucket");
    const live = await search(spans);
    expect(live.traces.map(({ traceId }) => traceId)).toEqual([idOf(2)]);
    expect(live.isStoredMissing).toBe(true);
    expect(spans.pins).toBe(0);
  });

  it("ends when it is cancelled, wherever it is, and lets go of its heads", async () => {
    for (let at = 1; ; at++) {
      const spans = new TestSpans();
      const gone = new AbortController();
      let calls = 0;
      spans.onAsk = () => {
        if (++calls === at) gone.abort();
        gone.signal.throwIfAborted();
      };
      const shard = headShard([spanOf(1, 10)], {
        partition: { index: 0, count: 1 },
        appId: "a",
        toOffset: 1,
      });
      spans.heads = [shard];
      const result = search(spans, { signal: gone.signal });
      if (at === 3) {
        expect((await result).traces).toHaveLength(1);
        return;
      }
      await expect(result).rejects.toMatchObject({ code: "Canceled", reason: "client_gone" });
      expect(spans.pins).toBe(0);
    }
  });

  it("tells a timeout from a client that has gone", async () => {
    const spans = new TestSpans();
    const timedOut = AbortSignal.timeout(0);
    const { promise, resolve } = Promise.withResolvers<void>();
    timedOut.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    await expect(search(spans, { signal: timedOut })).rejects.toMatchObject({ code: "Timeout" });
  });
});

function idOf(n: number): string {
  return n.toString(16).padStart(32, "0");
}

function spanOf(trace: number, start: number): SpanSpec {
  const startNano = BigInt(start);
  return { traceId: idOf(trace), spanId: "0000000000000001", startNano, endNano: startNano + 1n };
}
