/**
 * Compares traces joined as columns with traces merged as objects. Shards keep attributes in
 * different columns, and some spans are duplicates.
 */
import { planQuery } from "#pkg/engine/condition/plan.ts";
import { expect, inject, it } from "vitest";
import type { TimeRange } from "#pkg/api/query.ts";
import { bytesOfData } from "#pkg/columns/batch-data.ts";
import { randomExpr } from "#pkg/engine/testing/oracle-check.ts";
import { type Random, randomFrom, randomSpans } from "#pkg/engine/testing/random-filter.ts";
import { batchOfHead, headOf, headOfRecord, type SpanSpec } from "#pkg/engine/testing/spans.ts";
import { collectSpans, detailsOfJoined } from "#pkg/engine/trace/trace-spans.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { ResourceSpans } from "#pkg/otlp/trace-data.ts";
import type { AnswerOf, QuestionName, RequestOf } from "#pkg/questions/question-table.ts";
import { detailsOfTrace } from "#pkg/query/testing/details-oracle.ts";
import { searchNewest, type SearchResult } from "./search.ts";
import { headShardOf, tenant, TestSpans } from "#pkg/query/testing/spans.ts";

const partition = { index: 0, count: 1 };
const ranges: readonly TimeRange[] = [
  { startNano: 0n, endNano: 2n ** 62n },
  { startNano: 17n * 10n ** 17n + 2n, endNano: 17n * 10n ** 17n + 12n },
];

/** Single spans; some repeat unchanged, some with another name or other attributes. */
function pieces(random: Random): ResourceSpans[][] {
  const single = randomSpans(random).resourceSpans.flatMap(({ scopeSpans, ...resource }) =>
    scopeSpans.flatMap(({ spans, ...scope }) =>
      spans.map((span) => ({ ...resource, scopeSpans: [{ ...scope, spans: [span] }] })),
    ),
  );
  const all = Array.from({ length: 1 + Math.floor(random() * 4) }, (): ResourceSpans[] => []);
  for (const one of single) {
    all[Math.floor(random() * all.length)].push(one);
    const choice = random();
    if (choice > 0.4) continue;
    const [scope] = one.scopeSpans;
    const [span] = scope.spans;
    const attributes = span.attributes.toReversed();
    // Values of one key must keep their order.
    const isSame = new Set(attributes.map(({ key }) => key)).size === attributes.length;
    const again = choice < 0.3 && isSame ? { ...span, attributes } : { ...span, name: "again" };
    all[Math.floor(random() * all.length)].push({
      ...one,
      scopeSpans: [{ ...scope, spans: [choice < 0.2 ? span : again] }],
    });
  }
  return all.filter(({ length }) => length > 0);
}

/** Makes each piece a head or a block; blocks differ in their attribute columns. */
async function shardsOf(random: Random, all: ResourceSpans[][]): Promise<TestSpans> {
  const spans = new TestSpans();
  for (const [i, resourceSpans] of all.entries()) {
    const head = headOfRecord(encodeTraceData({ resourceSpans }));
    const name = String(i);
    if (random() < 0.4)
      spans.heads.push(headShardOf(head, { partition, appId: name, toOffset: 1 }));
    else await spans.addBlockOf(name, head, { partition, rowGroupSpans: 1 + random() * 12 });
  }
  return spans;
}

async function askAll<K extends QuestionName>(
  spans: TestSpans,
  question: K,
  request: RequestOf<K>,
): Promise<AnswerOf<K>[]> {
  const pinned = await spans.pin();
  const shards = [...pinned.heads, ...spans.blocks.flatMap((block) => block.shards)];
  const asks = shards.map((shard) => ({ shard, request }));
  const { outcomes } = await spans.ask(question, asks);
  pinned.release();
  return outcomes.map((outcome) => {
    if ("error" in outcome) throw outcome.error;
    return outcome.answer;
  });
}

/** Returns undefined if the condition cannot be evaluated over the spans. */
function orImpossible<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof SpoorError && error.reason === "traceql_value") return undefined;
    throw error;
  }
}

async function checkSet(seed: number): Promise<number> {
  const random = randomFrom(seed);
  const all = pieces(random);
  const spans = await shardsOf(random, all);
  const traceIds = [
    ...new Set(all.flat().map((one) => hex(one.scopeSpans[0].spans[0].traceId))),
  ].sort();
  const ids = new Uint8Array(Buffer.from(traceIds.join(""), "hex"));
  const answers = await askAll(spans, "spans", { ids, bytesMax: 2 ** 30 });
  const parts = answers.map(({ batch }) => batch);
  const wire = new Map<string, Uint8Array[]>();
  for (const [i, id] of traceIds.entries()) {
    const traceId = ids.subarray(i * 16, i * 16 + 16);
    const found = await askAll(spans, "trace", { traceId });
    wire.set(id, found.flat());
  }
  let checked = 0;
  for (let i = 0; i < 12; i++) {
    const { text, expr: filter } = randomExpr(random);
    for (const range of ranges) {
      const expected = orImpossible(() =>
        traceIds.flatMap((id) => {
          const query = { ...range, filter };
          return detailsOfTrace({ pieces: wire.get(id)!, query, spansPerTrace: 3 }) ?? [];
        }),
      );
      const request = { ...range, ids, spansPerTrace: 3, plan: planQuery(filter) };
      const found = orImpossible(() => detailsOfJoined({ parts, request, hasRepeats: true }));
      const sorted = found?.sort((a, b) => (a.traceId < b.traceId ? -1 : 1));
      expect(sorted, `seed ${seed}, { ${text} }`).toEqual(expected);
      if (expected !== undefined) checked++;
    }
  }
  return checked;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

it("traces joined as columns have the same details as traces merged as objects", async () => {
  const sets = 10 * inject("depth");
  let checked = 0;
  for (let set = 0; set < sets; set++) checked += await checkSet(20_261_201 + set);
  expect(checked).toBeGreaterThan(sets * 12);
}, 600_000);

/** A span with a long distinct attribute. */
function longSpan(trace: number, span: number): SpanSpec {
  return {
    traceId: trace.toString(16).padStart(32, "0"),
    spanId: span.toString(16).padStart(16, "0"),
    name: "op",
    startNano: BigInt(span),
    endNano: BigInt(span + 1),
    attributes: { text: `${span} ${"x".repeat(1000)}` },
  };
}

it("an answer with spans states how many of the requested traces fit", () => {
  const specs = [1, 2, 3].flatMap((trace) => [1, 2].map((n) => longSpan(trace, trace * 10 + n)));
  const batch = batchOfHead(headOf(specs));
  const ids = new Uint8Array(
    Buffer.from([3, 1, 9, 2].map((n) => n.toString(16).padStart(32, "0")).join(""), "hex"),
  );
  const fits = (bytesMax: number): { answered: number; spans: number } => {
    const { answered, batch: some } = collectSpans(batch, { ids, bytesMax });
    expect(bytesOfData(some)).toBeLessThanOrEqual(Math.max(bytesMax, 8));
    return { answered, spans: some.rows };
  };
  expect(fits(100_000)).toEqual({ answered: 4, spans: 6 });
  // A missing trace takes no bytes.
  expect(fits(5000)).toEqual({ answered: 3, spans: 4 });
  expect(fits(3000)).toEqual({ answered: 1, spans: 2 });
  expect(fits(1000)).toEqual({ answered: 0, spans: 0 });
});

/** Two heads with the same spans of the traces: each span counts once. */
function sentTwice(traces: number, spansPerTrace: number): TestSpans {
  const spans = new TestSpans();
  const specs = Array.from({ length: traces }, (_, trace) =>
    Array.from({ length: spansPerTrace }, (_, n) => longSpan(trace + 1, trace * 100 + n + 1)),
  ).flat();
  for (const appId of ["a", "b"]) {
    spans.heads.push(headShardOf(headOf(specs), { partition, appId, toOffset: 1 }));
  }
  return spans;
}

async function search(spans: TestSpans, memoryBytesMax: number): Promise<SearchResult> {
  const { signal } = new AbortController();
  const query = { tenant, ...ranges[0], limit: 10, spansPerTrace: 0, signal };
  const jobs = { jobBytesMax: 2 ** 22, jobRowGroupsMax: 64 };
  return await searchNewest(spans.both, query, { concurrency: 2, memoryBytesMax, ...jobs });
}

it("traces that do not fit together are joined one by one", async () => {
  const spans = sentTwice(3, 5);
  const asked: string[] = [];
  spans.onAsk = (question) => asked.push(question);
  const { traces, failures } = await search(spans, 48_000);
  expect(failures).toEqual([]);
  expect(traces.map(({ matchedSpans }) => matchedSpans)).toEqual([5, 5, 5]);
  // One request to both heads, then further requests for a trace that did not fit.
  expect(asked.filter((question) => question === "spans").length).toBeGreaterThan(2);
});

it("a trace that is too large to be joined is reported, and its parts are added up", async () => {
  const { traces, failures } = await search(sentTwice(1, 40), 48_000);
  expect(failures.map(({ reason }) => reason)).toEqual(["trace_too_large"]);
  expect(traces.map(({ matchedSpans }) => matchedSpans)).toEqual([80]);
});
