import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openBlock } from "#pkg/block/reader.ts";
import type { TagIndex } from "#pkg/block/index/tag-index.ts";
import { cutTraces, sampleTraces, storeOf, testKey } from "#pkg/block/block.testing.ts";
import { parseLeniently } from "#pkg/traceql/traceql.ts";
import { mayMatch } from "./prune.ts";

async function indexOf(bytes: Uint8Array): Promise<TagIndex> {
  const place = { store: await storeOf(bytes), key: testKey, sizeBytes: bytes.length };
  const reader = await openBlock(place);
  try {
    return await reader.tags();
  } finally {
    reader.close();
  }
}

async function mayMatchEach(bytes: Uint8Array): Promise<Record<string, boolean>> {
  const index = await indexOf(bytes);
  const ask = (text: string): boolean => mayMatch(index, parseLeniently(`{ ${text} }`).filter!);
  return Object.fromEntries(
    [
      '.http.method = "GET"',
      '.http.method = "PUT"',
      "event.code = 202",
      "event.code = 9",
      '.no = "where"',
      'link.http.method = "GET"',
      'link:spanID = "01"',
    ].map((text) => [text, ask(text)]),
  );
}

describe("pruning", () => {
  it("uses attributes of events and links too", async () => {
    expect(await mayMatchEach(cutTraces(sampleTraces(6)).bytes)).toEqual({
      '.http.method = "GET"': true,
      '.http.method = "PUT"': false,
      "event.code = 202": true,
      "event.code = 9": false,
      '.no = "where"': false,
      'link.http.method = "GET"': false,
      'link:spanID = "01"': true,
    });
  });

  it("does not treat an old index as complete", async () => {
    const file = new URL("../../../testdata/blocks/v1.parquet", import.meta.url);
    expect(await mayMatchEach(readFileSync(file))).toEqual({
      '.http.method = "GET"': true,
      '.http.method = "PUT"': true,
      "event.code = 202": true,
      "event.code = 9": true,
      '.no = "where"': true,
      'link.http.method = "GET"': true,
      'link:spanID = "01"': true,
    });
  });

  it("detects that a block has no links", async () => {
    const data = sampleTraces(2);
    for (const span of data.resourceSpans[0].scopeSpans[0].spans) span.links = [];
    const asked = await mayMatchEach(cutTraces(data).bytes);
    expect(asked['link:spanID = "01"']).toBe(false);
  });
});
