/** Questions answered from a few pages of a row group, without reading the other pages. */
import { planQuery } from "#pkg/engine/condition/plan.ts";
import { beforeAll, describe, expect, it } from "vitest";
import { parseBlockTags } from "#pkg/block/block-file.ts";
import { type BlockReader, openBlock } from "#pkg/block/reader.ts";
import type { DictColumn } from "#pkg/columns/column-batch.ts";
import type { HeadBatch } from "#pkg/columns/head-batch.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { type FieldExpr, parseQuery } from "#pkg/traceql/traceql.ts";
import { listTraces, mergeLists } from "#pkg/engine/trace/list-traces.ts";
import { clustersOf } from "./row-clusters.ts";
import { detailsOfRowGroup, findInRowGroup, listRowGroup } from "./row-group.ts";
import { batchOfHead, headOf, putBlock, type SpanSpec } from "#pkg/engine/testing/spans.ts";
import { findTrace, traceDetails } from "#pkg/engine/trace/traces.ts";

const traces = 12_000;
const spansPerTrace = 5;
const base = 1_700_000_000_000_000_000n;

function idOf(trace: number): string {
  return (trace + 1).toString(16).padStart(32, "0");
}

/** Traces one after the other; every 4,001st has a rare value, some last long. */
const specs: SpanSpec[] = Array.from({ length: traces * spansPerTrace }, (_, i) => {
  const trace = Math.floor(i / spansPerTrace);
  const startNano = base + BigInt(i) * 1_000_000n;
  const isRare = trace % 4001 === 0;
  return {
    traceId: idOf(trace),
    spanId: (i + 1).toString(16).padStart(16, "0"),
    ...(i % spansPerTrace === 0
      ? {}
      : { parentId: (i - (i % spansPerTrace) + 1).toString(16).padStart(16, "0") }),
    service: `service-${i % 7}`,
    name: `name-${i % 11}`,
    startNano,
    endNano: startNano + (isRare ? 10_000_000_000n : BigInt(i % 1000)),
    attributes: { kind: isRare && i % 2 === 0 ? "rare" : `usual-${i % 50}`, number: BigInt(i % 3) },
  };
});

const partition = { index: 0, count: 1 };
let head: HeadBatch;
let block: BlockReader;
/** Opens the block again. */
let openAgain: () => Promise<BlockReader>;

/** Opens a block of one row group with these spans. */
async function openedBlock(all: readonly SpanSpec[]): Promise<BlockReader> {
  const store = new MemoryStore();
  const data = headOf(all);
  const path = "blocks/2023/11/14/a.parquet";
  const sizes = { rowGroupSpans: 100_000, newestSpans: [] };
  const file = await putBlock(store, { tenant: "t", path, head: data, partition, ...sizes });
  const { indexOffset } = parseBlockTags(file);
  openAgain = () => openBlock({ store, key: `t/${path}`, sizeBytes: file.sizeBytes, indexOffset });
  return await openAgain();
}

beforeAll(async () => {
  head = batchOfHead(headOf(specs));
  block = await openedBlock(specs);
  expect(block.rowGroups).toHaveLength(1);
});

function filterOf(query: string): FieldExpr {
  const { body } = parseQuery(query);
  const [stage] = body.kind === "pipeline" ? body.stages : [];
  if (stage?.kind !== "filter") throw new Error(`not one filter: ${query}`);
  return stage.expr;
}

/** Ids in an order of their own. */
function hexOf(ids: Uint8Array = new Uint8Array(0)): string[] {
  const hex = Buffer.from(ids).toString("hex");
  return (hex.match(/.{32}/g) ?? []).sort();
}

const range = { startNano: base, endNano: base + 10n ** 15n };
const rareTraces = [0, 4001, 8002];

describe("a row group", () => {
  it.each([
    ['{ span.kind = "rare" }', rareTraces],
    ['{ span.kind = "rare" && trace:duration > 5s }', rareTraces],
    ['{ span.kind = "rare" && trace:duration < 5s }', []],
    ['{ span.kind = "rare" && nestedSetParent < 0 }', [0, 8002]],
    [`{ trace:id = "${idOf(7)}" }`, [7]],
  ])("lists what the head lists: %s", async (query, expected) => {
    for (const limit of [1, 2, 100]) {
      const request = { ...range, limit, plan: planQuery(filterOf(query)) };
      const found = await listRowGroup(block, 0, request);
      const wanted = listTraces(head, request);
      expect([...found.startNanos]).toEqual([...wanted.startNanos]);
      expect(Buffer.from(found.ids)).toEqual(Buffer.from(wanted.ids));
      expect(found.truncated).toBe(wanted.truncated);
      expect(hexOf(found.maybes?.ids)).toEqual(hexOf(wanted.maybes?.ids));
    }
    const all = await listRowGroup(block, 0, {
      ...range,
      limit: 100,
      plan: planQuery(filterOf(query)),
    });
    expect(all.startNanos).toHaveLength(expected.length);
  });

  it("returns details and whole traces from a few pages", async () => {
    const ids = Buffer.concat(rareTraces.map((trace) => Buffer.from(idOf(trace), "hex")));
    const plan = planQuery(filterOf('{ span.kind = "rare" && span:childCount > 0 }'));
    const request = { ...range, ids, spansPerTrace: 3, plan };
    const before = block.readBytes;
    const { traces: found } = await detailsOfRowGroup(block, 0, request);
    expect(found).toEqual(traceDetails(head, request));
    expect(block.readBytes).toBeGreaterThan(before);
    for (const trace of rareTraces) {
      const id = Buffer.from(idOf(trace), "hex");
      const [bytes] = await findInRowGroup(block, 0, { traceId: id });
      expect(decodeTraceData(bytes)).toEqual(decodeTraceData(findTrace(head, id)[0]));
    }
    expect(await findInRowGroup(block, 0, { traceId: Buffer.from(idOf(traces), "hex") })).toEqual(
      [],
    );
  });

  it.each([
    '{ rootServiceName = "service-3" }',
    '{ rootName != "name-3" && span.number = 1 }',
    "{ span:childCount > 3 }",
    "{ span:childCount = 4 && trace:duration > 5s }",
    "{ nestedSetParent < 0 && duration > 900ns }",
    "{ nestedSetLeft = 2 || nestedSetRight = 10 }",
    "{ trace:duration < 5s && nestedSetParent > 1 }",
  ])("lists by what it has stored of whole traces, and reads less: %s", async (query) => {
    const plan = planQuery(filterOf(query));
    // The second range cuts traces at both ends, the third holds a part of one.
    for (const [from, to] of [
      [0, traces * spansPerTrace],
      [1003, 20_002],
      [11, 14],
    ]) {
      const [startNano, endNano] = [from, to].map((n) => base + BigInt(n) * 1_000_000n + 500n);
      const request = { startNano: startNano - 1000n, endNano, limit: 50, plan };
      const told = await Promise.all(
        [true, false].map(async (hasWholeTraces) => {
          const columns = new Set<string>();
          const reader = await openAgain();
          const read = reader.readRowGroup.bind(reader);
          reader.readRowGroup = (rowGroup, names = [], options) => {
            for (const name of names) columns.add(name);
            return read(rowGroup, names, options);
          };
          return {
            list: await listRowGroup(reader, 0, { ...request, hasWholeTraces }),
            readsParents: columns.has("parent_span_id") || columns.has("span_id"),
          };
        }),
      );
      const [stored, computed] = told;
      expect(stored.list).toEqual(computed.list);
      // A range that cuts traces may need more than the stored values.
      if (from === 0) expect([stored.readsParents, computed.readsParents]).toEqual([false, true]);
    }
  });

  it("computes values if spans share start and id", async () => {
    const id = idOf(0);
    const spanOf = (spanId: string, more: Partial<SpanSpec>): SpanSpec => {
      return { traceId: id, spanId, startNano: base, endNano: base + 1n, ...more };
    };
    // Two spans with one id: the first in the order of services is the parent, not the first to
    // come.
    const twice = [
      spanOf("00000000000000aa", { service: "z", name: "late" }),
      spanOf("00000000000000aa", { service: "a", name: "early" }),
      ...[1, 2].map((n) =>
        spanOf(`000000000000000${n}`, { parentId: "00000000000000aa", startNano: base + 5n }),
      ),
    ];
    const reader = await openedBlock(twice);
    const request = { ...range, limit: 10, hasWholeTraces: true };
    const ask = async (query: string): Promise<string[]> => {
      const { ids } = await listRowGroup(reader, 0, {
        ...request,
        plan: planQuery(filterOf(query)),
      });
      return hexOf(ids);
    };
    expect(await ask('{ rootName = "early" }')).toEqual([id]);
    expect(await ask('{ rootName = "late" }')).toEqual([]);
  });

  it.each([
    [0, 10],
    [19_990, 20_010],
    [20_000, 20_001],
    [39_999, 60_000],
    [0, 60_000],
  ])("reads rows %i to %i as they are in the whole", async (from, to) => {
    const whole = await block.readRowGroup(0);
    const some = await block.readRowGroup(0, undefined, { rows: { from, to } });
    expect(some.rows).toBe(to - from);
    for (const name of ["start_unix_nano", "span_id"]) {
      const [a, b] = [whole.column(name), some.column(name)];
      if (a?.kind !== "int64" || b?.kind !== "int64") throw new Error(name);
      expect(b.values).toEqual(a.values.slice(from, to));
    }
  });
});

describe("clustersOf", () => {
  const column = (codes: number[]): DictColumn => {
    const dictionary = { bytes: new Uint8Array(0), offsets: new Uint32Array(9), length: 8 };
    return { kind: "dict", type: "binary", codes: Int32Array.from(codes), dictionary };
  };
  const far = (codes: number[]): DictColumn =>
    column(codes.flatMap((code) => Array.from({ length: 10_000 }, (_, i) => (i === 0 ? code : 7))));

  it("joins close ranges, and reads all rows if that is little more", () => {
    const wanted = Uint8Array.of(0, 1, 0, 0, 0, 0, 0, 0);
    expect(clustersOf(far([1, 0, 0, 0, 0, 0]), wanted)).toEqual([{ from: 0, to: 1 }]);
    // Spans of one trace that are far apart.
    expect(clustersOf(far([0, 1, 1, 0, 0, 0]), wanted)).toEqual([{ from: 0, to: 60_000 }]);
    expect(clustersOf(column([0, 1, 0, 0]), wanted)).toEqual([{ from: 1, to: 2 }]);
    expect(clustersOf(column([0, 1, 1, 1]), wanted)).toEqual([{ from: 0, to: 4 }]);
    expect(clustersOf(column([0, 0]), wanted)).toEqual([]);
    const two = Uint8Array.of(0, 1, 1, 0, 0, 0, 0, 0);
    expect(clustersOf(far([1, 0, 0, 2, 0, 0]), two)).toEqual([
      { from: 0, to: 1 },
      { from: 30_000, to: 30_001 },
    ]);
  });
});

describe("mergeLists", () => {
  it("keeps the newest traces, and maybes before the last of them", () => {
    const list = (places: [number, bigint][], maybes?: [number, bigint][]) => {
      const pairs = (some: [number, bigint][]) => ({
        ids: Buffer.concat(some.map(([id]) => Buffer.from(idOf(id), "hex"))),
        startNanos: BigInt64Array.from(some, ([, start]) => start),
      });
      const facts = { truncated: false, inspectedSpans: 5 };
      return { ...pairs(places), ...facts, maybes: maybes && pairs(maybes) };
    };
    const merged = mergeLists(
      [
        list(
          [
            [1, 9n],
            [2, 5n],
          ],
          [[3, 7n]],
        ),
        list(
          [[4, 7n]],
          [
            [5, 8n],
            [6, 1n],
          ],
        ),
      ],
      2,
    );
    expect([...merged.startNanos]).toEqual([9n, 7n]);
    expect(merged.truncated).toBe(true);
    expect(merged.inspectedSpans).toBe(10);
    expect([...merged.maybes!.startNanos]).toEqual([8n, 7n]);
    expect(mergeLists([list([[1, 9n]]), list([[2, 8n]])], 5).maybes).toBeUndefined();
  });
});
