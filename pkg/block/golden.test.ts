/**
 * Blocks that earlier versions wrote stay readable. `UPDATE=1` rewrites the blocks of this version.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { readSpans } from "#pkg/columns/spans.ts";
import type { BlockFile } from "#pkg/table/delta-table.ts";
import { parseBlockTags } from "./block-file.ts";
import { openBlock } from "./reader.ts";
import { commitOf, cutTraces, sampleTraces, storeOf, testKey } from "./block.testing.ts";
import { valueLocations } from "#pkg/block/index/tag-parts.ts";
import { verifyBlock } from "#pkg/block/verify/verify.ts";

const folder = new URL("../../testdata/blocks/", import.meta.url);

/** The commit of the block, and its expected content. */
interface Golden {
  path: string;
  sizeBytes: number;
  modifiedMs: number;
  rows: number;
  minStartNano: string;
  maxStartNano: string;
  tags: Record<string, string>;
  columns: string[];
  spans: string[];
}

function fileOf(golden: Golden): BlockFile {
  const { path, sizeBytes, modifiedMs, rows, tags } = golden;
  const min = { start_unix_nano: BigInt(golden.minStartNano) };
  const max = { start_unix_nano: BigInt(golden.maxStartNano) };
  return { path, sizeBytes, modifiedMs, stats: { rows, min, max }, tags };
}

function update(name: string): void {
  // Enough values for a separate part with values of a tag.
  const traces = sampleTraces(16);
  const block = cutTraces(traces, { rowGroupSpans: 8 });
  const { stats, ...file } = commitOf(block);
  const golden: Golden = {
    ...file,
    tags: { ...file.tags },
    rows: stats.rows,
    minStartNano: String(stats.min["start_unix_nano"]),
    maxStartNano: String(stats.max["start_unix_nano"]),
    columns: [...block.columns],
    spans: canonicalSpans(traces),
  };
  writeFileSync(new URL(`${name}.parquet`, folder), block.bytes);
  writeFileSync(new URL(`${name}.json`, folder), `${JSON.stringify(golden, undefined, 2)}\n`);
}

if (process.env["UPDATE"] === "1") update("v2");

describe("golden block", () => {
  it.each([
    ["v1", 1],
    ["v2", 2],
  ])("of format %s is readable and whole", async (name, version) => {
    const bytes = readFileSync(new URL(`${name}.parquet`, folder));
    const text = readFileSync(new URL(`${name}.json`, folder), "utf8");
    const golden = JSON.parse(text) as Golden;
    const file = fileOf(golden);
    const store = await storeOf(bytes);
    const { indexOffset, rowGroups } = parseBlockTags(file);
    const reader = await openBlock({ store, key: testKey, sizeBytes: bytes.length, indexOffset });
    expect(reader.index.trailer.version).toBe(version);
    expect((await reader.tags()).covers).toEqual(version === 1 ? [] : ["event", "link"]);
    expect(valueLocations(await reader.index.tagKeys(undefined)).length > 0).toBe(version > 1);
    expect(reader.columnNames.toSorted()).toEqual(golden.columns.toSorted());
    expect(reader.rowGroups.length).toBe(rowGroups.length);
    const spans: string[] = [];
    for (let i = 0; i < reader.rowGroups.length; i++) {
      const batch = await reader.readRowGroup(i);
      const rows = Uint32Array.from({ length: batch.rows }, (_, row) => row);
      spans.push(...canonicalSpans(readSpans(batch, rows)));
    }
    reader.close();
    expect(spans.sort()).toEqual(golden.spans);
    expect(await verifyBlock({ store, key: testKey, file })).toEqual([]);
  });
});
