/**
 * Bytes damaged by accident or crafted on purpose always give a typed error that names the block.
 */
import { crc32, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import { readSpans } from "#pkg/columns/spans.ts";
import { parseBlockTags } from "./block-file.ts";
import {
  decodeDirectory,
  decodeTrailer,
  indexVersion,
  trailerBytes,
} from "#pkg/block/index/index-section.ts";
import { openBlock } from "./reader.ts";
import { decodeTagKeys, decodeTagValues } from "#pkg/block/index/tag-parts.ts";
import { takeApart } from "./take-apart.testing.ts";
import { commitOf, cutTraces, sampleTraces, storeOf, testKey } from "./block.testing.ts";

const small = sampleTraces(1);
small.resourceSpans[0].scopeSpans[0].spans.length = 2;
for (const span of small.resourceSpans[0].scopeSpans[0].spans) span.attributes = [];
/** Two spans: a block of a few kilobytes. */
const block = cutTraces(small);

/** Reads everything in a block. */
async function readAll(bytes: Uint8Array, indexOffset?: number): Promise<string> {
  const store = await storeOf(bytes);
  const reader = await openBlock({ store, key: testKey, sizeBytes: bytes.length, indexOffset });
  try {
    const said: unknown[] = [reader.directory, await reader.tags()];
    for (let i = 0; i < reader.directory.bloom.shards; i++) {
      said.push([...(await reader.index.bloomShard(i))]);
    }
    for (let i = 0; i < reader.rowGroups.length; i++) {
      said.push(await reader.tags(i));
      const batch = await reader.readRowGroup(i);
      said.push(readSpans(batch, Array.from({ length: batch.rows }).keys().toArray()));
      // Reading a range of rows uses the offset indexes.
      const first = await reader.readRowGroup(i, undefined, { rows: { from: 0, to: 1 } });
      said.push(readSpans(first, [0]));
    }
    return JSON.stringify(said, (_, value: unknown) =>
      typeof value === "bigint" ? String(value) : value,
    );
  } finally {
    reader.close();
  }
}

/** Returns the error of reading; undefined if it succeeds. */
async function failure(bytes: Uint8Array, indexOffset?: number): Promise<unknown> {
  return await readAll(bytes, indexOffset).then(
    () => undefined,
    (error: unknown) => error,
  );
}

function expectNamed(error: unknown): void {
  expect(hasCode(error, "Corrupt"), String(error)).toBe(true);
  expect((error as SpoorError).message).toContain(testKey);
}

describe("a damaged block", () => {
  it("is detected at every byte that is used", async () => {
    const whole = await readAll(block.bytes);
    for (let at = 0; at < block.bytes.length; at++) {
      const bytes = Uint8Array.from(block.bytes);
      bytes[at] ^= 1 << ((at * 5) % 8);
      // Nothing reads the leading magic.
      if (at < 4) expect(await readAll(bytes)).toBe(whole);
      else expectNamed(await failure(bytes, at % 2 === 0 ? block.indexOffset : undefined));
    }
  });

  it("is detected when it is truncated at any byte, or longer", async () => {
    for (let size = 0; size < block.bytes.length; size++) {
      expectNamed(await failure(block.bytes.subarray(0, size)));
      if (size > block.indexOffset) {
        expectNamed(await failure(block.bytes.subarray(0, size), block.indexOffset));
      }
    }
    expectNamed(await failure(Buffer.concat([block.bytes, Buffer.alloc(1)])));
    expectNamed(await failure(Buffer.concat([block.bytes, block.bytes])));
  });

  it("is detected when it is not a block at all", async () => {
    const tail = block.bytes.subarray(-trailerBytes);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.boolean(), async (random, ends) => {
        expectNamed(await failure(ends ? Buffer.concat([random, tail]) : random));
      }),
      { numRuns: 300 },
    );
  });
});

function packed(json: string): Uint8Array {
  return zstdCompressSync(Buffer.from(json));
}

function pack(value: unknown): Uint8Array {
  return packed(JSON.stringify(value));
}

function expectCorrupt(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    expect(hasCode(error, "Corrupt"), String(error)).toBe(true);
    return;
  }
  throw new Error("nothing was thrown");
}

/** Returns the block's trailer with one number replaced and a valid checksum. */
function withTrailer(at: number, value: bigint, bits: 32 | 64): Uint8Array {
  const bytes = Buffer.from(block.bytes);
  const trailer = bytes.subarray(block.footerOffset - trailerBytes, block.footerOffset);
  if (bits === 64) trailer.writeBigUInt64LE(value, at);
  else trailer.writeUInt32LE(Number(value), at);
  trailer.writeUInt32LE(crc32(trailer.subarray(0, 36)), 36);
  return bytes;
}

describe("a hostile block", () => {
  it("cannot point outside of itself", async () => {
    for (const value of [0n, 1n, 2n ** 31n, 2n ** 53n, 2n ** 64n - 1n]) {
      expectNamed(await failure(withTrailer(0, value, 64)));
      expectNamed(await failure(withTrailer(8, value, 64)));
    }
    for (const value of [0n, 1n, 2n ** 31n, 2n ** 32n - 1n]) {
      expectNamed(await failure(withTrailer(16, value, 32)));
      expectNamed(await failure(withTrailer(24, value, 32)));
    }
  });

  it("of a newer version is refused as such", async () => {
    const error = await failure(withTrailer(32, BigInt(indexVersion + 1), 32));
    expect(hasCode(error, "InvalidInput")).toBe(true);
    expect((error as SpoorError).reason).toBe("format_too_new");
    expect((error as SpoorError).message).toContain(testKey);
  });

  it("cannot grow in memory: bombs and nests are refused", () => {
    for (const json of [
      `"${"a".repeat(40_000_000)}"`,
      "[".repeat(20_000_000),
      '{"a":'.repeat(1_000_000),
    ]) {
      expectCorrupt(() => decodeDirectory(packed(json)));
      expectCorrupt(() => decodeTagKeys(packed(json), 1));
      expectCorrupt(() => decodeTagKeys(packed(json), 2));
      expectCorrupt(() => decodeTagValues(packed(json)));
    }
  });

  it("has no directory of absurd numbers", () => {
    const { directory } = takeApart(block.bytes);
    const { bloom, rowGroups } = directory;
    const wrong: unknown[] = [
      null,
      [],
      {},
      { ...directory, rows: -1 },
      { ...directory, rows: 1e300 },
      { ...directory, rowGroups: [] },
      { ...directory, rowGroups: Array.from({ length: 10_001 }, () => rowGroups[0]) },
      { ...directory, rowGroups: [{ ...rowGroups[0], minStartNano: "1e9" }] },
      { ...directory, rowGroups: [{ ...rowGroups[0], minStartNano: "9".repeat(1000) }] },
      { ...directory, bloom: { ...bloom, hashes: 2 ** 40 } },
      { ...directory, bloom: { ...bloom, bitsPerShard: 2 ** 40 } },
      { ...directory, bloom: { ...bloom, bitsPerShard: 0 } },
      { ...directory, bloom: { ...bloom, shards: 2 } },
      { ...directory, bloom: { ...bloom, places: [] } },
      { ...directory, tags: { offset: -4, sizeBytes: 1, crc: 1 } },
      { ...directory, tags: { offset: 0.5, sizeBytes: 1, crc: 1 } },
    ];
    for (const value of wrong) expectCorrupt(() => decodeDirectory(packed(JSON.stringify(value))));
    expect(decodeDirectory(packed(JSON.stringify(directory)))).toEqual(directory);
  });

  it("has no tag index of another form", () => {
    const { tags } = takeApart(block.bytes);
    const [entry] = tags.entries;
    const shape = { shards: 1, bitsPerShard: 8, hashes: 3 };
    const wrong: unknown[] = [
      null,
      [],
      { entries: {}, truncated: false },
      { entries: [null], truncated: false },
      { entries: [{ ...entry, type: "map" }], truncated: false },
      { entries: [{ ...entry, values: [["a"]] }], truncated: false },
      { entries: [{ ...entry, values: [["a", -1]] }], truncated: false },
      { entries: [{ ...entry, bloom: { shape, shards: [] } }], truncated: false },
      { entries: [{ ...entry, bloom: { shape, shards: [7] } }], truncated: false },
      {
        entries: [{ ...entry, bloom: { shape: { ...shape, hashes: 1e9 }, shards: ["AA=="] } }],
        truncated: false,
      },
      { entries: Array.from({ length: 6000 }, () => entry), truncated: false },
    ];
    for (const value of wrong) expectCorrupt(() => decodeTagKeys(pack(value), 1));
    expect(decodeTagKeys(pack(tags), 1)).toEqual(tags);
    const { covers: _none, ...old } = tags;
    expect(decodeTagKeys(pack(old), 1)).toEqual({ ...tags, covers: [] });
    const future = decodeTagKeys(pack({ ...tags, covers: ["profile", "link"] }), 1);
    expect(future.covers).toEqual(["link"]);
  });

  it("has no list of keys, and no values, of another form", () => {
    const { tags } = takeApart(block.bytes);
    const [entry] = tags.entries;
    const place = { offset: 4, sizeBytes: 5, crc: 6 };
    const { values: _values, ...facts } = entry;
    const key = { ...facts, place };
    const keys = { ...tags, entries: [entry, key] };
    expect(decodeTagKeys(pack(keys), 2)).toEqual(keys);
    const wrong: unknown[] = [
      null,
      { ...keys, entries: [facts] },
      { ...keys, entries: [{ ...entry, place }] },
      { ...keys, entries: [{ ...facts, place: { ...place, offset: -1 } }] },
      { ...keys, entries: Array.from({ length: 6000 }, () => key) },
      { ...keys, covers: "event" },
    ];
    for (const value of wrong) expectCorrupt(() => decodeTagKeys(pack(value), 2));
    const shape = { shards: 1, bitsPerShard: 8, hashes: 3 };
    const part = { values: [["a", 1]], bloom: { shape, shards: ["AA=="] } };
    expect(decodeTagValues(pack(part))).toEqual(part);
    const wrongParts: unknown[] = [
      null,
      {},
      { values: [["a", -1]] },
      { values: [["a"]] },
      { values: Array.from({ length: 1001 }, () => ["a", 1]) },
      { ...part, bloom: { shape, shards: [] } },
      { ...part, bloom: { shape: { ...shape, hashes: 1e9 }, shards: ["AA=="] } },
    ];
    for (const value of wrongParts) expectCorrupt(() => decodeTagValues(pack(value)));
  });

  it("is refused if only the checksum of its trailer is wrong", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 60 }), (random) => {
        expectCorrupt(() => decodeTrailer(random));
      }),
    );
  });
});

describe("a commit's tags", () => {
  it("come back as they were written", () => {
    const tags = parseBlockTags(commitOf(block));
    const { spans, traces, indexOffset, footerOffset, bloom, rowGroups } = block;
    const partition = { index: 0, count: 1 };
    const expected = { partition, spans, traces, indexOffset, footerOffset, bloom, rowGroups };
    expect(tags).toEqual(expected);
  });

  it("are refused in any other form", () => {
    const file = commitOf(block);
    const wrong: [string, string[]][] = [
      ["spoor.version", ["", "x", "-1", "1.5", "1/2"]],
      ["spoor.partition", ["", "0", "0/0", "1/1", "0/3", "-1/4", "0/4/4", "a/b"]],
      ["spoor.index", ["", "9", "9,8", "4,99999999", `${"9".repeat(30)},3`]],
      ["spoor.bloom", ["", "1,1", "0,1,8,3,7", `${block.indexOffset},2,8,3,7`]],
      ["spoor.bloom", [`${block.indexOffset},1,8,99,7`, `${block.indexOffset},1,7,3,7`]],
      ["spoor.traces", ["", "-1", "1e3", "1,2"]],
      ["spoor.row_groups", ["", "1", "1,2,3,4", "1,2,3,4,x", "1,1,1,1,1;"]],
    ];
    for (const [tag, values] of wrong) {
      for (const value of values) {
        const tags = { ...file.tags, [tag]: value };
        expectCorrupt(() => parseBlockTags({ ...file, tags }));
      }
      const { [tag]: _gone, ...tags } = file.tags;
      expectCorrupt(() => parseBlockTags({ ...file, tags }));
    }
    const newer = { ...file, tags: { ...file.tags, "spoor.version": "2" } };
    expect(() => parseBlockTags(newer)).toThrow(/knows up to 1/);
  });
});
