import { describe, expect, it } from "vitest";
import type { Partition } from "#pkg/questions/shards.ts";
import type { TagQuestion, TagReference, TagScope } from "#pkg/api/tags.ts";
import { OracleError, oracleHolds, type WholeSpan } from "#pkg/engine/testing/filter-oracle.ts";
import {
  type Random,
  randomCondition,
  randomFrom,
  randomSpans,
} from "#pkg/engine/testing/random-filter.ts";
import { spanPart } from "#pkg/engine/condition/span-part.ts";
import type { TagValue } from "#pkg/engine/tags/tag-counter.ts";
import { headOfRecord, type SpanSpec } from "#pkg/engine/testing/spans.ts";
import type { HeadData } from "#pkg/columns/head.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { AnyValue, KeyValue, TraceData } from "#pkg/otlp/trace-data.ts";
import { type FieldExpr, parseLeniently } from "#pkg/traceql/traceql.ts";
import { headShard, headShardOf, TestSpans, tenant } from "#pkg/query/testing/spans.ts";
import { findTags, type TagsResult } from "./tags.ts";

const seed = Number(process.env.SEED ?? 1);
const never = new AbortController().signal;
const partition: Partition = { index: 0, count: 1 };
const always = { startNano: 0n, endNano: 2n ** 62n };
const keys = ["a", "b", "c", "http.status_code", "odd key", "a:int", "service.name", "r1", "r2"];
const scopes: readonly TagScope[] = ["resource", "span", "event", "link", "instrumentation"];

interface Ask {
  question: TagQuestion;
  filter?: FieldExpr;
  startNano?: bigint;
  endNano?: bigint;
}

async function ask(spans: TestSpans, query: Ask, memoryBytesMax = 1e9): Promise<TagsResult> {
  return await findTags(
    spans.both,
    { ...always, ...query, tenant, signal: never },
    { concurrency: 3, memoryBytesMax, jobBytesMax: 2 ** 22, jobRowGroupsMax: 3 },
  );
}

function headOfData(data: TraceData): HeadData {
  return headOfRecord(encodeTraceData(data));
}

function wholeSpans(data: TraceData): WholeSpan[] {
  return data.resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ scope, spans }) =>
      spans.map((span) => ({ resource, scope, span, trace: [] })),
    ),
  );
}

/**
 * Returns the attribute lists of a scope of a span: one per event, one per link. The last value of
 * a repeated key counts. The first service name counts too, because it is the displayed service.
 */
function listsOf(whole: WholeSpan, of: TagScope): (readonly KeyValue[])[] {
  return allListsOf(whole, of).map((list) =>
    list.filter(({ key, value }, i) => {
      const isFirstName =
        of === "resource" &&
        key === "service.name" &&
        value.kind === "string" &&
        list.findIndex((one) => one.key === key) === i;
      return isFirstName || list.findLastIndex((one) => one.key === key) === i;
    }),
  );
}

function allListsOf({ resource, scope, span }: WholeSpan, of: TagScope): (readonly KeyValue[])[] {
  switch (of) {
    case "resource":
      return [resource.attributes];
    case "span":
      return [span.attributes];
    case "event":
      return span.events.map(({ attributes }) => attributes);
    case "link":
      return span.links.map(({ attributes }) => attributes);
    default:
      return [scope.attributes];
  }
}

function shown(value: AnyValue): [kind: string, text: string] | undefined {
  if (value.kind === "double") return ["float", value.value === 0 ? "0" : String(value.value)];
  const isScalar = value.kind === "string" || value.kind === "int" || value.kind === "bool";
  return isScalar ? [value.kind, String(value.value)] : undefined;
}

function valuesOf(whole: WholeSpan, reference: TagReference): [string, string][] {
  const { span, scope } = whole;
  if (reference.kind === "attribute") {
    const own = listsOf(whole, reference.scope).flat();
    const named = own.filter(({ key }) => key === reference.name);
    return named.flatMap(({ value }) => [shown(value) ?? []]).filter((one) => one.length > 0) as [
      string,
      string,
    ][];
  }
  const texts: Record<string, string[]> = {
    "span:name": [span.name],
    "span:statusMessage": [span.status.message],
    "event:name": span.events.map(({ name }) => name),
    "instrumentation:name": [scope.name],
    "instrumentation:version": [scope.version],
  };
  return texts[reference.name].map((text) => ["string", text]);
}

/** The oracle: counts over every span. */
function oracle(spans: readonly WholeSpan[], question: TagQuestion): TagValue[] {
  const counts = new Map<string, TagValue>();
  const add = (kind: string, text: string): void => {
    if (text === "") return;
    const name = `${kind}\n${text}`;
    const known = counts.get(name);
    if (known === undefined) counts.set(name, { kind: kind as TagValue["kind"], text, count: 1 });
    else known.count++;
  };
  for (const whole of spans) {
    if (question.kind === "names") {
      for (const scope of question.scopes) {
        for (const { key } of listsOf(whole, scope).flat()) add(scope, key);
      }
    } else {
      for (const reference of question.references) {
        for (const [kind, text] of valuesOf(whole, reference)) add(kind, text);
      }
    }
  }
  return [...counts.values()].sort(
    (a, b) =>
      b.count - a.count ||
      (a.text === b.text ? (a.kind < b.kind ? -1 : 1) : a.text < b.text ? -1 : 1),
  );
}

function randomQuestion(random: Random): TagQuestion {
  if (random() < 0.25) {
    const some = scopes.filter(() => random() < 0.6);
    return { kind: "names", scopes: some.length === 0 ? scopes : some };
  }
  if (random() < 0.2) {
    const names = [
      "span:name",
      "span:statusMessage",
      "event:name",
      "instrumentation:name",
      "instrumentation:version",
    ] as const;
    const name = names[Math.floor(random() * names.length)];
    return { kind: "values", references: [{ kind: "intrinsic", name }] };
  }
  const name = keys[Math.floor(random() * keys.length)];
  const some = random() < 0.4 ? scopes : [scopes[Math.floor(random() * scopes.length)]];
  return {
    kind: "values",
    references: some.map((scope) => ({ kind: "attribute", scope, name })),
  };
}

/** Distributes the spans: to a head, a block, many blocks, or a mix. */
async function placesOf(data: TraceData, random: Random): Promise<[string, TestSpans][]> {
  const parts = data.resourceSpans.map((one): TraceData => ({ resourceSpans: [one] }));
  const oneHead = new TestSpans();
  oneHead.heads = [headShardOf(headOfData(data), { partition, appId: "a", toOffset: 1 })];
  const oneBlock = new TestSpans();
  await oneBlock.addBlockOf("whole", headOfData(data), { partition, rowGroupSpans: 7 });
  const many = new TestSpans();
  const mix = new TestSpans();
  for (const [i, part] of parts.entries()) {
    const rowGroupSpans = 1 + Math.floor(random() * 5);
    await many.addBlockOf(`b${i}`, headOfData(part), { partition, rowGroupSpans });
    if (random() < 0.5)
      await mix.addBlockOf(`b${i}`, headOfData(part), { partition, rowGroupSpans });
    else mix.heads.push(headShardOf(headOfData(part), { partition, appId: `h${i}`, toOffset: 1 }));
  }
  return [
    ["one head", oneHead],
    ["one block", oneBlock],
    ["many blocks", many],
    ["a mix", mix],
  ];
}

describe("tags", () => {
  it("agree with the oracle for heads and blocks, with and without a filter", async () => {
    const random = randomFrom(seed);
    const outcomes = { filtered: 0, nothing: 0, errors: 0, unfiltered: 0 };
    for (let set = 0; set < 25; set++) {
      const data = randomSpans(random);
      const all = wholeSpans(data);
      const places = await placesOf(data, random);
      for (let i = 0; i < 12; i++) {
        const question = randomQuestion(random);
        const text = i % 2 === 0 ? "" : `{ ${randomCondition(random)} }`;
        const lenient = parseLeniently(text).filter;
        const filter = lenient === undefined ? undefined : spanPart(lenient);
        const where = `SEED=${seed}, data set ${set}, ${JSON.stringify(question)}, ${text}`;
        const matching = matchingSpans(all, filter);
        if (matching === undefined) {
          outcomes.errors++;
          continue;
        }
        const expected = oracle(matching, question);
        outcomes[filter === undefined ? "unfiltered" : "filtered"]++;
        if (expected.length === 0) outcomes.nothing++;
        for (const [place, spans] of places) {
          const { values, failures, truncated } = await ask(spans, { question, filter });
          expect(values, `${where}, ${place}`).toEqual(expected);
          expect([failures, truncated]).toEqual([[], false]);
        }
      }
    }
    console.log(`tags: seed ${seed}, ${JSON.stringify(outcomes)}`);
    expect(outcomes.filtered).toBeGreaterThan(60);
    expect(outcomes.nothing).toBeLessThan(200);
  });

  function matchingSpans(
    all: readonly WholeSpan[],
    filter: FieldExpr | undefined,
  ): WholeSpan[] | undefined {
    try {
      return all.filter((whole) => filter === undefined || oracleHolds(filter, whole));
    } catch (error) {
      // If the filter cannot be evaluated, the request is retried without it (queries.ts).
      if (error instanceof OracleError) return undefined;
      throw error;
    }
  }
});

const base = 1_700_000_000_000_000_000n;
const second = 1_000_000_000n;

function specOf(i: number, attributes: SpanSpec["attributes"]): SpanSpec {
  return {
    traceId: (1 + Math.floor(i / 3)).toString(16).padStart(32, "0"),
    spanId: (i + 1).toString(16).padStart(16, "0"),
    parentId: i % 3 === 0 ? undefined : (i - (i % 3) + 1).toString(16).padStart(16, "0"),
    service: `service-${i % 3}`,
    name: `op ${i % 4}`,
    startNano: base + BigInt(i) * second,
    endNano: base + BigInt(i) * second + 5n,
    attributes,
  };
}

const order: TagQuestion = {
  kind: "values",
  references: [{ kind: "attribute", scope: "span", name: "order" }],
};
const service: TagQuestion = {
  kind: "values",
  references: [{ kind: "attribute", scope: "resource", name: "service.name" }],
};

describe("tag values", () => {
  /** 3000 orders, most of them once; in two blocks and a head. */
  const many = Array.from({ length: 4500 }, (_, i) => {
    const number = i < 3000 ? i : i - 2900;
    return specOf(i, { order: `o-${number}` });
  });

  it("are counted in their column if an index lists only some of them", async () => {
    const spans = new TestSpans();
    await spans.addBlock("a", many.slice(0, 2000), { partition, rowGroupSpans: 1500 });
    await spans.addBlock("b", many.slice(2000, 4000), { partition, rowGroupSpans: 900 });
    spans.heads = [headShard(many.slice(4000), { partition, appId: "h", toOffset: 1 })];
    const { values, stats, truncated } = await ask(spans, { question: order });
    const counts = new Map<string, number>();
    for (const { attributes } of many) {
      const text = attributes!["order"] as string;
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    const expected = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    expect(values.map(({ text, count }) => [text, count])).toEqual(expected);
    expect(truncated).toBe(false);
    // The index answers for row groups of fewer than 1000 orders.
    expect(stats.inspectedSpans).toBe(1500 + 500);
    const rare = await ask(spans, { question: service });
    expect(rare.values.map(({ text, count }) => [text, count])).toEqual([
      ["service-0", 1500],
      ["service-1", 1500],
      ["service-2", 1500],
    ]);
    expect([rare.stats.inspectedSpans, rare.stats.totalJobs]).toEqual([500, 3]);
  });

  it("are limited in memory: the most frequent are kept, and the answer is marked", async () => {
    const spans = new TestSpans();
    await spans.addBlock("a", many, { partition, rowGroupSpans: 5000 });
    const { values, truncated } = await ask(spans, { question: order }, 50_000);
    expect(truncated).toBe(true);
    expect(values.length).toBeGreaterThan(50);
    expect(values.length).toBeLessThan(200);
    expect(values.every(({ count }) => count === 2)).toBe(true);
  });

  it("of roots come from the spans that are stored together", async () => {
    const roots: TagQuestion = {
      kind: "values",
      references: [
        { kind: "intrinsic", name: "trace:rootName" },
        { kind: "intrinsic", name: "trace:rootService" },
      ],
    };
    const specs = many.slice(0, 30);
    const head = new TestSpans();
    head.heads = [headShard(specs, { partition, appId: "h", toOffset: 1 })];
    const block = new TestSpans();
    await block.addBlock("a", specs, { partition, rowGroupSpans: 7 });
    const expected = [
      ["service-0", 30],
      ["op 0", 9],
      ["op 3", 9],
      ["op 1", 6],
      ["op 2", 6],
    ];
    for (const spans of [head, block]) {
      for (const filter of [undefined, parseLeniently('{ name != "nothing" }').filter]) {
        const { values } = await ask(spans, { question: roots, filter });
        expect(values.map(({ text, count }) => [text, count])).toEqual(expected);
      }
    }
  });

  it("count whole row groups that overlap; with a filter, only overlapping spans", async () => {
    const spans = new TestSpans();
    await spans.addBlock("a", many.slice(0, 90), { partition, rowGroupSpans: 30 });
    spans.heads = [headShard(many.slice(90, 120), { partition, appId: "h", toOffset: 1 })];
    const range = { startNano: base + 31n * second, endNano: base + 33n * second };
    const count = async (query: Ask): Promise<number> => {
      const { values } = await ask(spans, query);
      return values.reduce((sum, value) => sum + value.count, 0);
    };
    const filter = parseLeniently('{ name != "nothing" }').filter;
    expect(await count({ question: order, ...range })).toBe(30);
    expect(await count({ question: order, filter, ...range })).toBe(2);
    expect(await count({ question: order })).toBe(120);
    expect(await count({ question: order, filter })).toBe(120);
    const late = { startNano: base + 100n * second, endNano: base + 101n * second };
    expect(await count({ question: order, ...late })).toBe(30);
    expect(await count({ question: order, filter, ...late })).toBe(1);
  });
});
