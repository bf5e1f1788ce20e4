import { describe, expect, it } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import type { KeyValue } from "#pkg/otlp/trace-data.ts";
import { type BlockIndex, openBlockIndex } from "./block-index.ts";
import { openBlock } from "./reader.ts";
import { takeApart } from "./take-apart.testing.ts";
import { cutTraces, sampleTraces, testKey } from "./block.testing.ts";

/** Spans with a key of many values: their index section is longer than the read on opening. */
const data = sampleTraces(300);
data.resourceSpans[0].scopeSpans[0].spans.forEach((span, i) => {
  for (let key = 0; key < 12; key++) {
    const value = `${(i * 7919 + key * 104729).toString(36)}-${i}`;
    const attribute: KeyValue = { key: `many${key}`, value: { kind: "string", value } };
    span.attributes.push(attribute);
  }
});
const block = cutTraces(data, { rowGroupSpans: 500 });
const { indexOffset, footerOffset } = block;
const sizeBytes = block.bytes.length;

/** A store that records the requested ranges. */
class NotedStore {
  readonly reads: [start: number, end: number][] = [];
  bytes: Uint8Array = block.bytes;

  async getRange(_key: string, start: number, end: number): Promise<Uint8Array> {
    this.reads.push([start, end]);
    return this.bytes.slice(start, end);
  }

  get sizeBytes(): number {
    return this.reads.reduce((sum, [start, end]) => sum + end - start, 0);
  }
}

async function opened(store: NotedStore): Promise<BlockIndex> {
  return await openBlockIndex({ store, key: testKey, sizeBytes, indexOffset, footerOffset });
}

describe("the index of a block, part by part", () => {
  it("reads neither rows nor the footer, and nothing twice", async () => {
    const store = new NotedStore();
    const index = await opened(store);
    expect(store.reads).toEqual([[footerOffset - 32 * 1024, footerOffset]]);
    expect(footerOffset - indexOffset).toBeGreaterThan(64 * 1024);
    const whole = await index.tags(0);
    const first = store.reads.length;
    expect(await index.tags(0, ["span.many3", "name"])).toEqual({
      ...whole,
      entries: whole.entries.filter(({ key }) => key === "span.many3" || key === "name"),
    });
    expect(store.reads.length).toBe(first);
    expect(store.reads.every(([start, end]) => start >= indexOffset && end <= footerOffset)).toBe(
      true,
    );
    expect(index.readBytes).toBe(store.sizeBytes);
    expect(index.heldBytes).toBeGreaterThan(32 * 1024);
  });

  it("reads the values of one key alone", async () => {
    const store = new NotedStore();
    const index = await opened(store);
    store.reads.length = 0;
    const tags = await index.tags(1, ["span.many7"]);
    expect(tags.entries.map(({ key, truncated }) => [key, truncated])).toEqual([
      ["span.many7", false],
    ]);
    expect(store.reads.length).toBe(1);
    expect(store.sizeBytes).toBeLessThan(8 * 1024);
    expect((await index.tags(1, ["span.nothing"])).entries).toEqual([]);
    expect(store.reads.length).toBe(1);
  });

  it("agrees with the index of the whole block", async () => {
    const parts = takeApart(block.bytes);
    for (const known of [{}, { indexOffset }, { footerOffset }, { indexOffset, footerOffset }]) {
      const store = new NotedStore();
      const index = await openBlockIndex({ store, key: testKey, sizeBytes, ...known });
      expect(index.directory).toEqual(parts.directory);
      expect(await index.tags(undefined)).toEqual(parts.tags);
      for (const [i, tags] of parts.rowGroupTags.entries()) {
        expect(await index.tags(i)).toEqual(tags);
      }
      expect(Buffer.from(await index.bloomShard(0))).toEqual(parts.blooms[0]);
    }
  });

  it("opens as a reader, which reads the footer and requested columns", async () => {
    const store = new NotedStore();
    const index = await opened(store);
    store.reads.length = 0;
    const reader = await openBlock({ store, key: testKey, sizeBytes, index });
    expect(store.reads).toEqual([[footerOffset, sizeBytes]]);
    expect((await reader.readRowGroup(0, ["name"])).names).toEqual(["name"]);
    expect(await reader.tags(0, ["name"])).toEqual(await index.tags(0, ["name"]));
    reader.close();
    const one = new NotedStore();
    const place = { store: one, key: testKey, sizeBytes, indexOffset, footerOffset };
    (await openBlock(place)).close();
    expect(one.reads).toEqual([[footerOffset - 32 * 1024, sizeBytes]]);
  });

  it("detects a wrong location and a flipped bit, and names the block", async () => {
    const wrong = [
      { footerOffset: footerOffset - 1 },
      { footerOffset: sizeBytes },
      { footerOffset: 20 },
      { footerOffset, indexOffset: indexOffset - 1 },
      { footerOffset, indexOffset: footerOffset },
    ];
    for (const place of wrong) {
      const store = new NotedStore();
      const error: unknown = await openBlockIndex({
        store,
        key: testKey,
        sizeBytes,
        ...place,
      }).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(hasCode(error, "Corrupt"), JSON.stringify(place)).toBe(true);
      expect(String(error)).toContain(testKey);
    }
    const store = new NotedStore();
    const index = await opened(store);
    store.bytes = Uint8Array.from(block.bytes);
    const [part] = takeApart(block.bytes).directory.bloom.places;
    for (let at = part.offset; at < part.offset + 40_000; at += 7) store.bytes[at] ^= 4;
    await expect(index.tags(0, ["span.many0"])).rejects.toThrow(/checksum of values of a tag/);
    await expect(index.bloomShard(0)).rejects.toThrow(
      `block ${testKey}: checksum of bloom shard 0`,
    );
  });
});
