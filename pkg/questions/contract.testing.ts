/**
 * Contract suite of the query protocol. For every question, the joined answers of the shards must
 * equal the answer over all their spans, also when requests and answers are encoded and decoded.
 */
import { planOf } from "#pkg/engine/condition/plan.ts";
import { expect } from "vitest";
import type { TraceDetails, TraceList } from "#pkg/api/query.ts";
import type { TagCounts } from "#pkg/api/tags.ts";
import { batchOfData } from "#pkg/columns/batch-data.ts";
import { type ColumnBatch, columnOf, valueText } from "#pkg/columns/column-batch.ts";
import { joinBatches } from "#pkg/columns/join-batches.ts";
import { readSpans } from "#pkg/columns/spans.ts";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { batchOfHead, headOf, type SpanSpec } from "#pkg/engine/testing/spans.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import type { TraceData } from "#pkg/otlp/trace-data.ts";
import { parseLeniently } from "#pkg/traceql/traceql.ts";
import { decode, encode } from "#pkg/wire/codec.ts";
import { type AnswerOf, type QuestionName, questionOf, type RequestOf } from "./question-table.ts";
import { asksOf, outcomesOf } from "./shard-codecs.ts";
import type { AskableShards, ShardRef } from "./shards.ts";

const base = 1_700_000_000_000_000_000n;

/** Twenty traces of three spans, with services, names and attributes of all types. */
export const contractSpans: readonly SpanSpec[] = Array.from({ length: 60 }, (_, i): SpanSpec => {
  const startNano = base + BigInt(i) * 1000n;
  const trace = 1 + (i % 20);
  const attributes = { order: `o-${i}`, code: BigInt(i % 5), share: i / 4, ok: i % 2 === 0 };
  return {
    traceId: (trace * 0x1357).toString(16).padStart(32, "0"),
    spanId: (i + 1).toString(16).padStart(16, "0"),
    ...(i < 20 ? {} : { parentId: ((i % 20) + 1).toString(16).padStart(16, "0") }),
    service: `service-${i % 3}`,
    name: `op ${i % 4}`,
    startNano,
    endNano: startNano + BigInt(i) * 100n,
    attributes,
  };
});

const ids = Buffer.concat(
  [2, 5, 19, 999].map((n) => Buffer.from((n * 0x1357).toString(16).padStart(32, "0"), "hex")),
);
const all = { startNano: base - 1n, endNano: base + 2n ** 40n };
const some = { startNano: base + 10_000n, endNano: base + 40_000n };
const { filter } = parseLeniently(
  '{ resource.service.name =~ "service-[01]" && span.code > 1 || duration < 1s && .share != nil }',
);
const plan = planOf(filter);
const names = { kind: "names", scopes: ["span", "resource", "event"] } as const;
const values = {
  kind: "values",
  references: [
    { kind: "attribute", scope: "span", name: "code" },
    { kind: "intrinsic", name: "span:name" },
  ],
} as const;

/** Requests of each question; a question without requests is a type error. */
const requests: { [K in QuestionName]: readonly RequestOf<K>[] } = {
  list: [
    { ...all, limit: 100 },
    { ...some, limit: 3 },
    { ...some, limit: 100, plan },
  ],
  details: [
    { ...all, ids, spansPerTrace: 0 },
    { ...some, ids, spansPerTrace: 2, plan },
  ],
  held: [{ ids }, { ids: new Uint8Array(0) }],
  spans: [
    { ids, bytesMax: 1e6 },
    { ids, range: some, columns: ["trace_id", "span_id", "resource.service.name"], bytesMax: 1e6 },
    { ids: new Uint8Array(0), bytesMax: 0 },
  ],
  trace: [0, 16, 48].map((at) => ({ traceId: ids.subarray(at, at + 16) })),
  countTags: [
    { ...all, question: names, bytesMax: 1e6 },
    { ...some, question: values, filter, bytesMax: 1e6 },
  ],
};

/** Joins the answers of all shards into a comparable value. */
const joined: { [K in QuestionName]: (answers: AnswerOf<K>[], request: RequestOf<K>) => unknown } =
  {
    list: (lists, { limit }) => lists.flatMap(linesOf).sort().reverse().slice(0, limit),
    details: (answers) => answers.flatMap(({ traces }) => traces).sort(byId),
    held: (answers, request) => questionOf("held").merge!(answers, request),
    spans: (answers, { ids: asked }) => {
      for (const { answered } of answers) expect(answered).toBe(asked.length / 16);
      const batch = joinBatches(answers.map((one) => batchOfData(one.batch)));
      return batch.names.includes("start_unix_nano")
        ? canonicalSpans(spansOf(batch))
        : idsOf(batch);
    },
    trace: (answers) => answers.flat().flatMap((one) => canonicalSpans(decodeTraceData(one))),
    countTags: (answers, request) => sortedCounts(questionOf("countTags").merge!(answers, request)),
  };

/** Returns one line per trace. All starts have as many digits, so that lines sort by start. */
function linesOf({ ids: found, startNanos }: TraceList): string[] {
  return Array.from(startNanos, (start, i) => {
    return `${start} ${Buffer.from(found.subarray(i * 16, i * 16 + 16)).toString("hex")}`;
  });
}

function spansOf(batch: ColumnBatch): TraceData {
  return readSpans(
    batch,
    Array.from({ length: batch.rows }, (_, row) => row),
  );
}

/** Returns the span ids with their services, sorted. */
function idsOf(batch: ColumnBatch): string[] {
  const ids = columnOf(batch, "span_id", "int64")?.values ?? [];
  const services = columnOf(batch, "resource.service.name", "dict");
  return Array.from(ids, (id, row) => {
    return `${id} ${valueText(services!.dictionary, services!.codes[row])}`;
  }).sort();
}

function byId(a: TraceDetails, b: TraceDetails): number {
  return a.traceId < b.traceId ? -1 : 1;
}

function sortedCounts({ groups, truncated }: TagCounts): unknown {
  const lines = groups.flatMap(({ kind, texts, counts }) =>
    texts.map((one, i) => `${kind} ${one} ${counts[i]}`),
  );
  return { lines: lines.sort(), truncated };
}

/** Returns the answer over all spans in one head. */
function expectedOf<K extends QuestionName>(question: K, request: RequestOf<K>): unknown {
  const batch = batchOfHead(headOf(contractSpans));
  const times = { minStartNano: base, maxStartNano: base + 59_000n };
  return joined[question]([questionOf(question).overHead({ batch, ...times }, request)], request);
}

async function checkQuestion<K extends QuestionName>(
  holder: AskableShards,
  shards: readonly ShardRef[],
  { question, asked }: { question: K; asked: readonly RequestOf<K>[] },
): Promise<void> {
  const { signal } = new AbortController();
  for (const request of asked) {
    const asks = shards.map((shard) => ({ shard, request }));
    const bytes = encode(asksOf(question), asks);
    const same = decode(asksOf(question), bytes);
    expect(same).toEqual(asks.map((ask) => structuredClone(ask)));
    // As in the frontend, each head gets its own request, and row groups share one.
    const jobs = Map.groupBy(same, ({ shard }) => (shard.kind === "head" ? shard : "rowGroups"));
    const answers: AnswerOf<K>[] = [];
    for (const job of jobs.values()) {
      const sent = await holder.ask(question, job, signal);
      const read = decode(outcomesOf(question), encode(outcomesOf(question), sent));
      // The codec must be equivalent to a transfer between threads.
      expect(read).toEqual(structuredClone(sent));
      for (const outcome of read.outcomes) {
        if ("error" in outcome) throw outcome.error;
        answers.push(outcome.answer);
      }
    }
    expect(joined[question](answers, request)).toEqual(expectedOf(question, request));
  }
}

/** Checks every question over shards that hold `contractSpans`; no trace is in two shards. */
export async function checkQuestions(
  holder: AskableShards,
  shards: readonly ShardRef[],
): Promise<void> {
  const spans = shards.reduce((sum, shard) => sum + shard.spans, 0);
  expect(spans).toBe(contractSpans.length);
  for (const question of Object.keys(requests) as QuestionName[]) {
    await checkQuestion(holder, shards, { question, asked: requests[question] });
  }
}

/** Checks the error of a condition that cannot be evaluated, also after encoding. */
export async function checkErrors(holder: AskableShards, shard: ShardRef): Promise<void> {
  const { signal } = new AbortController();
  const impossible = planOf(parseLeniently("{ !resource.service.name }").filter);
  const asks = [{ shard, request: { ...all, limit: 1, plan: impossible } }];
  const sent = await holder.ask("list", asks, signal);
  const { outcomes } = decode(outcomesOf("list"), encode(outcomesOf("list"), sent));
  expect(outcomes).toMatchObject([{ error: { code: "InvalidInput", reason: "traceql_value" } }]);
}
