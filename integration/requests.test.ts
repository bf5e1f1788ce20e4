/**
 * Requests to the bucket per operation, counted by the real binary over all of its threads, without
 * a cache. ARCHITECTURE.md has the formulas; requests.real.test.ts tests with caches.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  blockCount,
  makeManyBlocks,
  partitionCount,
  requestsOf,
  requestsSoFar,
  tracesPerBlock,
} from "#integration/parts/many-blocks.ts";
import { eventually, find, makeTrace, metric, send } from "#integration/parts/spans.ts";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";

const config = `
span_log: {free_bytes_min: 1MiB}
ingester: {cut_age: 300ms}
querier: {snapshot_age_max: 1h}
`;
/** Ranges to open one block and read a trace from it, and false positives of bloom filters. */
const perTraceMax = 60;

let dir = "";
let spoor: SpoorProcess;
let firstTraces: SpanSpec[][] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-requests-"));
  const dataDir = join(dir, "data");
  firstTraces = await makeManyBlocks(await openFsStore(join(dataDir, "bucket")));
  spoor = await startSpoorProcess({ dataDir, config });
  await spoor.ready();
  // Its first cycle is not counted here.
  await eventually(async () => (await metric(spoor.address, "spoor_compactor_cycles_total")) === 1);
}, 240_000);

afterAll(async () => {
  await spoor.stop();
  await rm(dir, { recursive: true, force: true });
});

it("a start reads a hint, a checkpoint and the commits behind it, not the whole log", async () => {
  // One get is the probe's.
  expect((await requestsSoFar(spoor.address)).get).toBe(1 + 2 + 2);
});

it("a trace by id reads one bloom shard per block of its partition, then its block", async () => {
  const [trace] = firstTraces;
  const lookUp = async (): Promise<void> => {
    const found = await find(spoor.address, trace[0].traceId);
    expect(found).toMatchObject({ partial: undefined, status: 200 });
    expect(found.spanIds).toHaveLength(3);
  };
  const candidates = blockCount / partitionCount;
  const cold = await requestsOf(spoor.address, lookUp);
  expect(cold.getRange).toBeGreaterThan(candidates);
  expect(cold.getRange).toBeLessThanOrEqual(candidates + perTraceMax);
  expect(Object.keys(cold).sort()).toEqual(["getRange", "list"]);
  expect(cold.list).toBe(1);
  // Bloom filters are cached.
  const warm = await requestsOf(spoor.address, lookUp);
  expect(warm.getRange).toBeLessThanOrEqual(perTraceMax);
  expect(Object.keys(warm)).toEqual(["getRange"]);
});

it("a search on a rare value reads one index per block, and rows of one", async () => {
  const search = async (): Promise<void> => {
    const query = new URLSearchParams({ q: '{ span.block = "b500" }', limit: "20" });
    const response = await fetch(`${spoor.address}/api/search?${query.toString()}`);
    const { traces } = (await response.json()) as { traces: unknown[] };
    expect(traces).toHaveLength(tracesPerBlock);
  };
  const cold = await requestsOf(spoor.address, search);
  expect(Object.keys(cold)).toEqual(["getRange"]);
  expect(cold.getRange).toBeGreaterThanOrEqual(blockCount);
  expect(cold.getRange).toBeLessThanOrEqual(blockCount + perTraceMax);
});

it("a cut is one put and one conditional create", async () => {
  const before = (await metric(spoor.address, "spoor_ingester_blocks_total")) ?? 0;
  const made = await requestsOf(spoor.address, async () => {
    // No column is new to the table.
    await send(spoor.otlpHttp, makeTrace(5));
    await eventually(
      async () => (await metric(spoor.address, "spoor_ingester_blocks_total")) === before + 1,
    );
  });
  expect(made).toEqual({ put: 1, putIfAbsent: 1 });
});
