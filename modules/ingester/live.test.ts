import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TimeRange } from "#pkg/api/query.ts";
import type { HeadRef } from "#pkg/questions/shards.ts";
import type { TagQuestion } from "#pkg/api/tags.ts";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { type FieldExpr, parseLeniently } from "#pkg/traceql/traceql.ts";
import { makeTrace, startIngester, TempFolder, type TestIngester } from "./ingester.testing.ts";

const signal = new AbortController().signal;

const endOf = ({ startNano, endNano }: SpanSpec): bigint =>
  endNano > startNano ? endNano : startNano;

/** A plain search for the newest traces with a span in the range: `<id> <start in the range>`. */
function oracleList(specs: readonly SpanSpec[], range: TimeRange, limit: number): string[] {
  const starts = new Map<string, bigint>();
  for (const span of specs) {
    if (span.startNano >= range.endNano || endOf(span) < range.startNano) continue;
    const known = starts.get(span.traceId);
    if (known === undefined || span.startNano < known) starts.set(span.traceId, span.startNano);
  }
  return [...starts]
    .sort(([idA, a], [idB, b]) => (a === b ? (idA < idB ? -1 : 1) : a < b ? 1 : -1))
    .slice(0, limit)
    .map(([id, start]) => `${id} ${start}`);
}

async function askList(
  running: TestIngester,
  head: HeadRef,
  request: TimeRange & { limit: number },
): Promise<string[]> {
  const { ids, startNanos } = await running.ask("list", head, request);
  return Array.from(startNanos, (start, i) => {
    const id = Buffer.from(ids.subarray(i * 16, i * 16 + 16)).toString("hex");
    return `${id} ${start}`;
  });
}

/** Few ids and times, so that traces share start times and ranges cut through traces. */
const spanSpecs = fc.array(
  fc.record({
    traceId: fc.integer({ min: 1, max: 6 }).map((n) => `${n}`.padStart(32, "0")),
    service: fc.constantFrom("a", "b"),
    startNano: fc.bigInt({ min: 0n, max: 20n }),
    endNano: fc.bigInt({ min: 0n, max: 25n }),
  }),
  { minLength: 1, maxLength: 30 },
);

/** Requests with distinct span ids: equal requests would count as retries. */
const requestLists = fc.array(spanSpecs, { minLength: 1, maxLength: 4 }).map((requests) => {
  let spans = 0;
  return requests.map((specs): SpanSpec[] =>
    specs.map((spec) => ({ ...spec, spanId: (++spans).toString(16).padStart(16, "0") })),
  );
});
const ranges = fc.record({
  startNano: fc.bigInt({ min: 0n, max: 26n }),
  endNano: fc.bigInt({ min: 0n, max: 26n }),
});

/** Services of the whole head, and of the spans that match and overlap the range. */
async function checkTags(
  running: TestIngester,
  head: HeadRef,
  { own, range }: { own: SpanSpec[]; range: TimeRange },
): Promise<void> {
  const question: TagQuestion = {
    kind: "values",
    references: [{ kind: "attribute", scope: "resource", name: "service.name" }],
  };
  const ask = async (filter?: FieldExpr): Promise<[string, number][]> => {
    const request = { question, ...range, filter, bytesMax: 1e6 };
    const { groups } = await running.ask("countTags", head, request);
    const found = groups.flatMap(({ texts, counts }) =>
      texts.map((text, i): [string, number] => [text, counts[i]]),
    );
    return found.sort(([a], [b]) => (a < b ? -1 : 1));
  };
  const expected = (spans: SpanSpec[]): [string, number][] => {
    return [...Map.groupBy(spans, ({ service = "" }) => service)]
      .map(([service, all]): [string, number] => [service, all.length])
      .sort(([a], [b]) => (a < b ? -1 : 1));
  };
  expect(await ask()).toEqual(expected(own));
  const inRange = own.filter(
    (span) => span.startNano < range.endNano && endOf(span) >= range.startNano,
  );
  expect(await ask(parseLeniently("{ duration >= 0ns }").filter)).toEqual(expected(inRange));
}

/** Compares each head with an oracle of the spans of its partition. */
async function checkTenant(
  running: TestIngester,
  tenant: string,
  { specs, range, limit }: { specs: SpanSpec[]; range: TimeRange; limit: number },
): Promise<void> {
  const pinned = await running.ingester.pin(tenant, signal);
  expect(pinned.incomplete).toEqual([]);
  let spans = 0;
  for (const head of pinned.heads) {
    const all = await running.ask("list", head, { startNano: 0n, endNano: 100n, limit: 100 });
    const ids = new Set(
      Array.from({ length: all.ids.length / 16 }, (_, i) =>
        Buffer.from(all.ids.subarray(i * 16, i * 16 + 16)).toString("hex"),
      ),
    );
    const own = specs.filter(({ traceId }) => ids.has(traceId));
    spans += own.length;
    expect(head.spans).toBe(own.length);
    expect(head.maxEndNano).toBe(own.map(endOf).reduce((a, b) => (b > a ? b : a)));
    expect(head.minStartNano).toBe(
      own.map(({ startNano }) => startNano).reduce((a, b) => (b < a ? b : a)),
    );
    expect(await askList(running, head, { ...range, limit })).toEqual(
      oracleList(own, range, limit),
    );
    const asked = Buffer.concat([Buffer.alloc(16, 0xee), all.ids, Buffer.alloc(16)]);
    const { marks } = await running.ask("held", head, { ids: asked });
    expect([...marks]).toEqual([0, ...Array.from(all.startNanos, () => 1), 0]);
    const { traces: details } = await running.ask("details", head, {
      ...range,
      ids: all.ids,
      spansPerTrace: 3,
    });
    await checkTags(running, head, { own, range });
    const matching = oracleList(own, range, 100).map((line) => line.slice(0, 32));
    expect(details.map(({ traceId }) => traceId).sort()).toEqual([...matching].sort());
    for (const { traceId, matchedSpans } of details) {
      const inRange = own.filter(
        (span) =>
          span.traceId === traceId &&
          span.startNano < range.endNano &&
          endOf(span) >= range.startNano,
      );
      expect(matchedSpans).toBe(inRange.length);
    }
    for (const id of ids) {
      const found = await running.ask("trace", head, { traceId: Buffer.from(id, "hex") });
      const mine = own.filter(({ traceId }) => traceId === id);
      expect(canonicalSpans(decodeTraceData(Buffer.concat(found)))).toEqual(
        canonicalSpans(traceDataOf(mine)),
      );
    }
  }
  expect(spans).toBe(specs.length);
  pinned.release();
}

describe("live queries", () => {
  it("agree with a plain search over the spans that were sent", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    let tenants = 0;
    await fc.assert(
      fc.asyncProperty(
        requestLists,
        ranges,
        fc.integer({ min: 0, max: 7 }),
        async (requests, range, limit) => {
          const tenant = `t${tenants++}`;
          for (const specs of requests) await running.append(tenant, specs);
          await running.readAll();
          const specs = requests.flat();
          await checkTenant(running, tenant, { specs, range, limit });
        },
      ),
      { numRuns: 40 },
    );
    await running.stop();
  });

  it("find zero-padded ids with equal endings, and nothing for unknown ones", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    const ids = ["0000000000000000", "1111111111111111", "1111111100000000"].map(
      (high) => `${high}00000000000000ff`,
    );
    const specs = ids.flatMap((traceId) => makeTrace(1, { traceId }));
    await running.append("t", specs);
    await running.readAll();
    for (const spec of specs) {
      expect(await running.live("t", [spec])).toEqual(canonicalSpans(traceDataOf([spec])));
    }
    const other = makeTrace(1, { traceId: "222222222222222200000000000000ff" });
    expect(await running.live("t", other)).toEqual([]);
    await running.stop();
  });

  it("of a pinned head see no later spans", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    const [traceId] = makeTrace(1, { partition: 2 }).map((spec) => spec.traceId);
    const first = makeTrace(2, { traceId });
    await running.append("t", first);
    await running.readAll();
    const pinned = await running.ingester.pin("t", signal);
    for (let i = 0; i < 300; i++)
      await running.append("t", makeTrace(2, { traceId, service: `s${i}` }));
    await running.readAll();
    const found = await running.ask("trace", pinned.heads[0], {
      traceId: Buffer.from(traceId, "hex"),
    });
    expect(canonicalSpans(decodeTraceData(Buffer.concat(found)))).toEqual(
      canonicalSpans(traceDataOf(first)),
    );
    expect(pinned.heads[0].spans).toBe(2);
    pinned.release();
    await running.stop();
  });
});
