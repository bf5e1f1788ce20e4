/**
 * A rare value over 4 million spans in 8 blocks reads at most 5 % of their
 * bytes, index included; the values of a service come without reading a row. Counted by the store's
 * own counter, in the real binary.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildBlocks, type BuiltBlocks } from "#integration/bench/blocks.ts";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";

const blocks = 8;
const spansPerBlock = 500_000;
const hourNano = 3600n * 1_000_000_000n;
let dir = "";
let built: BuiltBlocks;
let server: SpoorProcess;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-needle-"));
  built = await buildBlocks({
    dataDir: join(dir, "data"),
    blocks,
    spansPerBlock,
    partitionCount: 4,
    seed: 3,
    startNano: BigInt(Date.now()) * 1_000_000n - hourNano,
    spreadNano: hourNano,
  });
  expect([built.files.length, built.spans]).toEqual([blocks, blocks * spansPerBlock]);
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

/** Bytes that the store has given so far, to all threads. */
async function readBytes(): Promise<number> {
  const text = await (await fetch(`${server.address}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith("spoor_store_bytes_total{"));
  const reads = lines.filter((line) => /kind="(get|getRange)"/.test(line));
  expect(reads.length).toBeGreaterThan(0);
  return reads.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function ask(path: string, params: Record<string, string>): Promise<unknown> {
  const end = Math.floor(Date.now() / 1000) + 60;
  const query = new URLSearchParams({ start: String(end - 7200), end: String(end), ...params });
  const response = await fetch(`${server.address}${path}?${query.toString()}`);
  expect(response.status).toBe(200);
  return await response.json();
}

/** Each in a fresh process: nothing is cached. */
async function shareRead(work: () => Promise<void>): Promise<number> {
  server = await startSpoorProcess({ dataDir: join(dir, "data"), args: ["--log-level", "warn"] });
  try {
    await server.ready();
    const before = await readBytes();
    await work();
    return (await readBytes()) - before;
  } finally {
    await server.stop();
  }
}

interface Found {
  traces: { spanSets: { matched: number }[] }[];
}

test("a value that one span in 75,000 has reads at most 5 % of the bytes", async () => {
  for (const basket of ["basket-17", "basket-70001"]) {
    let matched = 0;
    const bytes = await shareRead(async () => {
      const q = `{ span.shop.basket = "${basket}" }`;
      const { traces } = (await ask("/api/search", { q, limit: "100" })) as Found;
      matched = traces.reduce((sum, { spanSets }) => sum + spanSets[0].matched, 0);
    });
    const share = bytes / built.sizeBytes;
    console.log(`${basket}: ${matched} spans, ${(100 * share).toFixed(2)} % of the bytes read`);
    expect(matched).toBeGreaterThan(0);
    expect(matched).toBeLessThan(200);
    expect(share).toBeLessThan(0.05);
  }
});

test("a service's values come without reading a row", async () => {
  let values: unknown[] = [];
  const bytes = await shareRead(async () => {
    const path = "/api/v2/search/tag/resource.service.name/values";
    const answer = (await ask(path, {})) as {
      tagValues: unknown[];
      metrics: { inspectedSpans?: string };
    };
    values = answer.tagValues;
    expect(Number(answer.metrics.inspectedSpans ?? 0)).toBe(0);
  });
  expect(values).toHaveLength(50);
  const share = bytes / built.sizeBytes;
  console.log(`service names: ${bytes} bytes, ${(100 * share).toFixed(3)} % of the bytes read`);
  // The column alone is 0.7 byte a span.
  expect(bytes).toBeLessThan(blocks * 64 * 1024);
});
