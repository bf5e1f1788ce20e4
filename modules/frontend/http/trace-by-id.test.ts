import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { traceDataOf, type SpanSpec } from "#pkg/engine/testing/spans.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceAnswer } from "./trace-answer.ts";
import { findTrace, type FoundTrace, type TraceQuery } from "#pkg/query/trace-by-id.ts";
import { headShard, tenant, TestSpans } from "#pkg/query/testing/spans.ts";

const traceId = "000000000000000000000000000000aa";
const { signal } = new AbortController();
const place = { partition: { index: 0, count: 1 }, rowGroupSpans: 2 };

function spanOf(n: number, more: Partial<SpanSpec> = {}): SpanSpec {
  const spanId = n.toString(16).padStart(16, "0");
  const startNano = BigInt(n) * 10n;
  return {
    traceId,
    spanId,
    service: "s",
    name: `n${n}`,
    startNano,
    endNano: startNano + 5n,
    ...more,
  };
}

async function find(spans: TestSpans, query: Partial<TraceQuery> = {}): Promise<FoundTrace> {
  const id = Buffer.from(traceId, "hex");
  return await findTrace(
    spans.both,
    { tenant, traceId: id, range: undefined, signal, ...query },
    { concurrency: 3, bytesMax: 1e9 },
  );
}

function spansIn({ pieces }: FoundTrace): string[] {
  const bytes = encodeTraceAnswer({ pieces, format: "v1-protobuf", partial: "" });
  return canonicalSpans(decodeTraceData(bytes));
}

describe("findTrace", () => {
  it("joins a trace however it was cut; spans that came twice are one", async () => {
    const piece = fc.record({
      spans: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
      isBlock: fc.boolean(),
      rowGroupSpans: fc.integer({ min: 1, max: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 4 }), async (cuts) => {
        const spans = new TestSpans();
        const { partition } = place;
        for (const [i, { spans: numbers, isBlock, rowGroupSpans }] of cuts.entries()) {
          const specs = numbers.map((n) => spanOf(n, { attributes: { b: "1", a: String(n) } }));
          if (isBlock) await spans.addBlock(`b${i}`, specs, { partition, rowGroupSpans });
          else spans.heads.push(headShard(specs, { partition, appId: `h${i}`, toOffset: 1 }));
        }
        const numbers = [...new Set(cuts.flatMap((cut) => cut.spans))];
        const all = numbers.map((n) => spanOf(n, { attributes: { b: "1", a: String(n) } }));
        const found = await find(spans);
        expect(found.failures).toEqual([]);
        expect(spansIn(found)).toEqual(canonicalSpans(traceDataOf(all)));
        // Byte for byte the same as if it had never been cut.
        const whole = new TestSpans();
        whole.heads = [headShard(all, { partition, appId: "h", toOffset: 1 })];
        const { pieces } = await find(whole);
        for (const format of ["v1-json", "v2-json", "v1-protobuf", "v2-protobuf"] as const) {
          const job = { format, partial: "" };
          expect(Buffer.from(encodeTraceAnswer({ ...job, pieces: found.pieces }))).toEqual(
            Buffer.from(encodeTraceAnswer({ ...job, pieces })),
          );
        }
      }),
      { numRuns: 60 },
    );
  });

  it("keeps spans that share an id and differ", async () => {
    const spans = new TestSpans();
    await spans.addBlock("a", [spanOf(1)], place);
    await spans.addBlock("b", [spanOf(1, { name: "other" }), spanOf(1)], place);
    expect(spansIn(await find(spans))).toHaveLength(2);
  });

  it("says NotFound only if everything was read", async () => {
    const spans = new TestSpans();
    const bad = await spans.addBlock("a", [spanOf(1, { traceId: "b".repeat(32) })], place);
    await expect(find(spans)).rejects.toMatchObject({
      code: "NotFound",
      message: `trace ${traceId} not found`,
    });
    spans.broken.set(bad.path, new SpoorError("Corrupt", "bad bytes"));
    const found = await find(spans);
    expect(found).toEqual({
      pieces: [],
      failures: [{ reason: "Corrupt", message: `block ${bad.path}: bad bytes` }],
    });
    expect(spans.pins).toBe(0);
  });

  it.each(["live", "stored"] as const)("says so when %s spans are out of reach", async (which) => {
    const spans = new TestSpans();
    const error = new SpoorError("Unavailable", "no answer");
    if (which === "live") spans.liveError = error;
    else spans.storedError = error;
    expect((await find(spans)).failures).toEqual([
      { reason: "Unavailable", message: `${which} spans could not be read: no answer` },
    ]);
  });

  it("says so when heads lack records, or a commit cannot be read", async () => {
    const spans = new TestSpans();
    spans.incomplete = ["7 records are not readable yet"];
    spans.failed = [{ path: "blocks/x", message: "block blocks/x: no tags" }];
    expect((await find(spans)).failures).toHaveLength(2);
  });

  it("says so when spans in quarantine may be those of the trace, in its range", async () => {
    const spans = new TestSpans();
    const ids = [traceId, "bb".repeat(16)].map((id) => Buffer.from(id, "hex"));
    const times = { minStartNano: 10n, maxEndNano: 20n };
    spans.aside = [{ ...times, traceIds: Buffer.concat(ids.toReversed()) }];
    const said = ['1 log records are in quarantine, see "spoor quarantine ls"'];
    expect((await find(spans)).failures.map(({ message }) => message)).toEqual(said);
    const others: Partial<TraceQuery>[] = [
      { range: { startNano: 21n, endNano: 30n } },
      { traceId: Buffer.alloc(16, 0xcc) },
    ];
    for (const query of others) {
      await expect(find(spans, query)).rejects.toMatchObject({ code: "NotFound" });
    }
    spans.aside = [{ ...times, traceIds: undefined }];
    const any = await find(spans, { traceId: Buffer.alloc(16, 0xcc) });
    expect(any.failures.map(({ reason }) => reason)).toEqual(["quarantine"]);
  });

  it("asks only partitions and blocks that may hold it", async () => {
    const spans = new TestSpans();
    const asked: string[] = [];
    spans.onAsk = (_, shard) => {
      if (shard.kind === "rowGroup") asked.push(shard.block.path);
    };
    for (const index of [0, 1]) {
      const partition = { index, count: 2 };
      await spans.addBlock(`p${index}`, [spanOf(1)], { partition, rowGroupSpans: 1 });
      spans.heads.push(headShard([spanOf(2)], { partition, appId: `a${index}`, toOffset: 1 }));
    }
    const { pieces } = await find(spans);
    expect(asked).toHaveLength(1);
    expect(pieces).toHaveLength(2);
  });

  it("narrows by time which blocks and heads it asks, and does not filter spans", async () => {
    const spans = new TestSpans();
    await spans.addBlock("a", [spanOf(1), spanOf(5)], place);
    await spans.addBlock("b", [spanOf(9)], place);
    const found = await find(spans, { range: { startNano: 0n, endNano: 30n } });
    expect(spansIn(found)).toHaveLength(2);
  });

  it("ends when it is cancelled, and lets go of its heads", async () => {
    const spans = new TestSpans();
    const gone = new AbortController();
    await spans.addBlock("a", [spanOf(1)], place);
    spans.onAsk = () => {
      gone.abort();
      throw new SpoorError("Canceled", "job was dropped");
    };
    const result = find(spans, { signal: gone.signal });
    await expect(result).rejects.toMatchObject({ code: "Canceled" });
    expect(spans.pins).toBe(0);
  });
});
