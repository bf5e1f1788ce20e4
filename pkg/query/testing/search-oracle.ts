/**
 * Test support: compares searches with an oracle that evaluates whole traces in the simplest way.
 * Conditions and spans are random; spans are in heads, in one block, in many blocks, or in a mix.
 */
import { planQuery } from "#pkg/engine/condition/plan.ts";
import type { TimeRange } from "#pkg/api/query.ts";
import { OracleError, oracleHolds, type WholeSpan } from "#pkg/engine/testing/filter-oracle.ts";
import { randomExpr } from "#pkg/engine/testing/oracle-check.ts";
import { type Random, randomFrom, randomSpans } from "#pkg/engine/testing/random-filter.ts";
import { headOfRecord } from "#pkg/engine/testing/spans.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
import { searchNewest } from "#pkg/query/search.ts";
import type { JobBounds } from "#pkg/query/shard-jobs.ts";
import { headShardOf, tenant, TestSpans } from "./spans.ts";

const { signal } = new AbortController();
const ranges: readonly TimeRange[] = [
  { startNano: 0n, endNano: 2n ** 62n },
  { startNano: 0n, endNano: 10n ** 18n },
  { startNano: 1000n, endNano: 17n * 10n ** 17n },
  { startNano: 17n * 10n ** 17n + 2n, endNano: 17n * 10n ** 17n + 12n },
];

type Way = "heads" | "one block" | "blocks" | "mix";
const ways: readonly Way[] = ["heads", "one block", "blocks", "mix"];

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)];
}

/** Returns random spans, each with its resource and scope. */
function singleSpans(random: Random): Omit<WholeSpan, "trace">[] {
  return randomSpans(random).resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ scope, spans }) => spans.map((span) => ({ resource, scope, span }))),
  );
}

function recordOf(spans: readonly Omit<WholeSpan, "trace">[]): Uint8Array {
  return encodeTraceData({
    resourceSpans: spans.map(({ resource, scope, span }) => ({
      resource,
      schemaUrl: "",
      scopeSpans: [{ scope, schemaUrl: "", spans: [span] }],
    })),
  });
}

async function spread(
  random: Random,
  all: readonly Omit<WholeSpan, "trace">[],
  way: Way,
): Promise<TestSpans> {
  const spans = new TestSpans();
  const chunkCount = way === "one block" ? 1 : 1 + Math.floor(random() * 5);
  const chunks = Array.from({ length: chunkCount }, (): Omit<WholeSpan, "trace">[] => []);
  for (const one of all) pick(random, chunks).push(one);
  for (const [number, chunk] of chunks.entries()) {
    const count = way === "one block" ? 1 : pick(random, [1, 2, 4]);
    for (let index = 0; index < count; index++) {
      const own = chunk.filter(({ span }) => partitionOf(span.traceId, 0, count) === index);
      if (own.length === 0) continue;
      const partition = { index, count };
      const head = headOfRecord(recordOf(own));
      const name = `${number}-${index}`;
      if (way === "heads" || (way === "mix" && random() < 0.5)) {
        spans.heads.push(headShardOf(head, { partition, appId: name, toOffset: 1 }));
      } else {
        const rowGroupSpans = 1 + Math.floor(random() * 12);
        await spans.addBlockOf(name, head, { partition, rowGroupSpans });
      }
    }
  }
  spans.blocks.sort(() => random() - 0.5);
  return spans;
}

interface Found {
  traceId: string;
  startNano: bigint;
  matchedSpans: number;
}

/** Returns the expected result; undefined if the condition cannot be evaluated. */
function expectedOf(
  all: readonly Omit<WholeSpan, "trace">[],
  { expr, range, limit }: Asked,
): Found[] | undefined {
  const startOf = ({ span }: Omit<WholeSpan, "trace">): bigint =>
    BigInt.asIntN(64, span.startTimeUnixNano);
  const inRange = all.filter((one) => {
    const end = BigInt.asIntN(64, one.span.endTimeUnixNano);
    const last = end > startOf(one) ? end : startOf(one);
    return startOf(one) < range.endNano && last >= range.startNano;
  });
  const byTrace = Map.groupBy(inRange, ({ span }) => Buffer.from(span.traceId).toString("hex"));
  try {
    return [...byTrace]
      .map(([traceId, spans]): Found => {
        const trace = spans.map((one): WholeSpan => ({ ...one, trace: [] }));
        const holds = (one: WholeSpan): boolean => oracleHolds(expr, { ...one, trace });
        const startNano = trace.map(startOf).reduce((a, b) => (b < a ? b : a));
        return { traceId, startNano, matchedSpans: trace.filter(holds).length };
      })
      .filter(({ matchedSpans }) => matchedSpans > 0)
      .sort((a, b) =>
        a.startNano === b.startNano
          ? Buffer.compare(Buffer.from(a.traceId), Buffer.from(b.traceId))
          : Number(b.startNano - a.startNano),
      )
      .slice(0, limit);
  } catch (error) {
    if (error instanceof OracleError) return undefined;
    throw error;
  }
}

export interface SearchRunOptions {
  seed: number;
  /** Data sets [from, to). */
  from: number;
  to: number;
  queriesPerSet: number;
}

export interface SearchOutcome {
  found: number;
  nothing: number;
  /** The oracle throws. Whether the search throws depends on the spans that it reads. */
  impossible: number;
}

/** Throws where a search and the oracle disagree; the message has the seed to repeat it. */
export async function checkSearches(run: SearchRunOptions): Promise<SearchOutcome> {
  const outcome: SearchOutcome = { found: 0, nothing: 0, impossible: 0 };
  for (let set = run.from; set < run.to; set++) {
    const random = randomFrom(run.seed * 7_000_003 + set);
    const all = singleSpans(random);
    const way = ways[set % ways.length];
    const spans = await spread(random, all, way);
    for (let i = 0; i < run.queriesPerSet; i++) {
      const { text, expr } = randomExpr(random);
      const asked = {
        expr,
        range: pick(random, ranges),
        limit: pick(random, [1, 2, 5, 20]),
        jobBytesMax: pick(random, [1, 30_000, 2 ** 22]),
        jobRowGroupsMax: pick(random, [1, 2, 64]),
      };
      const expected = expectedOf(all, asked);
      if (expected === undefined) {
        outcome.impossible++;
        continue;
      }
      const query = `SEED=${run.seed}, data set ${set}, ${way}, query { ${text} }`;
      const range = `${asked.range.startNano} to ${asked.range.endNano}, limit ${asked.limit}`;
      const found = await searched(spans, asked).catch((cause: unknown) => {
        throw new Error(`${query}, ${range}: ${String(cause)}`, { cause });
      });
      if (textOf(found) !== textOf(expected)) {
        const answers = `found ${textOf(found)}, not ${textOf(expected)}`;
        throw new Error(`${query}, ${range}: ${answers}`);
      }
      outcome[expected.length === 0 ? "nothing" : "found"]++;
    }
  }
  return outcome;
}

interface Asked extends JobBounds {
  expr: FieldExpr;
  range: TimeRange;
  limit: number;
}

async function searched(
  spans: TestSpans,
  { expr, range, limit, ...bounds }: Asked,
): Promise<Found[]> {
  const query = { tenant, ...range, limit, spansPerTrace: 1, plan: planQuery(expr), signal };
  const options = { concurrency: 2, memoryBytesMax: 2 ** 24, ...bounds };
  const { traces, failures } = await searchNewest(spans.both, query, options);
  if (failures.length > 0) throw new Error(failures[0].message);
  return traces.map(({ traceId, startNano, matchedSpans }) => ({
    traceId,
    startNano,
    matchedSpans,
  }));
}

function textOf(found: readonly Found[]): string {
  return found
    .map(({ traceId, startNano, matchedSpans }) => `${traceId}@${startNano}:${matchedSpans}`)
    .join(" ");
}
