import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import {
  type BloomBytes,
  type BloomHasher,
  bloomMayHold,
  BloomShard,
  bloomShard,
  bloomShards,
  buildBloom,
  bytesHasher,
  markBloom,
  traceIdHasher,
  traceIdPairs,
} from "./bloom.ts";

function mayHold(bloom: BloomBytes, value: Uint8Array, hasher: BloomHasher): boolean {
  const shard = bloom.bytes[bloomShard(bloom, value, hasher)];
  return bloomMayHold(bloom, shard, value, hasher);
}

/** Returns the share of false positives among values that are not in the filter. */
function falsePositives(bloom: BloomBytes, others: Iterable<Uint8Array>): number {
  const shards = bloom.bytes.map((bytes) => new BloomShard(bloom, bytes, traceIdHasher));
  let asked = 0;
  let found = 0;
  for (const value of others) {
    asked++;
    if (shards[bloomShard(bloom, value, traceIdHasher)].mayHold(value)) found++;
  }
  return found / asked;
}

/** Ids with a random low half, from a seeded generator. */
function* randomIds(count: number, seed: number, highWords: 0 | 2): Iterable<Uint8Array> {
  let state = seed;
  const word = (): number => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
  for (let i = 0; i < count; i++) {
    const id = Buffer.alloc(16);
    for (let at = highWords === 0 ? 8 : 0; at < 16; at += 4) id.writeInt32LE(word(), at);
    yield id;
  }
}

/** 1, 2, 3, ... as 64-bit ids padded with zeros. */
function* countedIds(from: number, count: number): Iterable<Uint8Array> {
  for (let i = from; i < from + count; i++) {
    const id = Buffer.alloc(16);
    id.writeBigUInt64BE(BigInt(i), 8);
    yield id;
  }
}

describe("bloom filter", () => {
  it("gives the same results for many values at once as for each value", () => {
    const id = fc.uint8Array({ minLength: 16, maxLength: 16 });
    const shapes = fc.record({
      shards: fc.integer({ min: 1, max: 5 }),
      bitsPerShard: fc.integer({ min: 1, max: 16 }).map((bytes) => bytes * 8),
      hashes: fc.integer({ min: 1, max: 8 }),
      seed: fc.uint8Array({ minLength: 80, maxLength: 80 }),
    });
    fc.assert(
      fc.property(fc.array(id, { maxLength: 50 }), shapes, (values, { seed, ...shape }) => {
        const bytesOf = (index: number): Uint8Array =>
          seed.subarray(index * 16, index * 16 + shape.bitsPerShard / 8);
        const shardOf = (value: Uint8Array): number => bloomShard(shape, value, traceIdHasher);
        const pairs = traceIdPairs(Buffer.concat(values));
        const marks = new Uint8Array(values.length);
        const shards = bloomShards(shape, pairs);
        expect(shards).toEqual(new Set(values.map(shardOf)));
        for (const index of shards) {
          markBloom(shape, { index, bytes: bytesOf(index) }, pairs, marks);
        }
        const expected = values.map((value) =>
          bloomMayHold(shape, bytesOf(shardOf(value)), value, traceIdHasher) ? 1 : 0,
        );
        expect([...marks]).toEqual(expected);
      }),
      { numRuns: 300 },
    );
    const short = { index: 0, bytes: new Uint8Array(3) };
    const shape = { shards: 1, bitsPerShard: 32, hashes: 1 };
    const mark = (): void => markBloom(shape, short, new Uint32Array(2), new Uint8Array(1));
    expect(mark).toThrow(expect.objectContaining({ code: "Corrupt" }));
  });

  it("holds every value that was added", () => {
    const values = fc.uniqueArray(fc.uint8Array({ maxLength: 40 }), {
      selector: (value) => Buffer.from(value).toString("hex"),
      maxLength: 200,
    });
    fc.assert(
      fc.property(values, (all) => {
        const bloom = buildBloom(all, all.length, bytesHasher);
        for (const value of all) expect(mayHold(bloom, value, bytesHasher)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  const kinds: [string, (count: number, part: number) => Iterable<Uint8Array>][] = [
    ["random", (count, part) => randomIds(count, part, 2)],
    ["zero-padded random", (count, part) => randomIds(count, part, 0)],
    ["zero-padded counted", (count, part) => countedIds(part * 10_000_000, count)],
  ];
  it.each(kinds)("has few false positives, ids: %s", (_kind, make) => {
    // The last fills four shards.
    for (const count of [1, 100, 10_000, 50_000]) {
      const ids = [...make(count, 1)];
      const bloom = buildBloom(ids, ids.length, traceIdHasher);
      expect(bloom.shards).toBe(count === 50_000 ? 4 : 1);
      const shards = bloom.bytes.map((bytes) => new BloomShard(bloom, bytes, traceIdHasher));
      for (const id of ids) {
        expect(shards[bloomShard(bloom, id, traceIdHasher)].mayHold(id)).toBe(true);
      }
      expect(falsePositives(bloom, make(50_000, 2))).toBeLessThan(0.02);
    }
  });

  it("fills its shards evenly, even with ids of one partition only", () => {
    const inPartition = [...randomIds(800_000, 3, 2)].filter((id) => partitionOf(id, 0, 4) === 1);
    const bloom = buildBloom(inPartition, inPartition.length, traceIdHasher);
    const counts = bloom.bytes.map((bytes) => bytes.reduce((sum, byte) => sum + ones(byte), 0));
    expect(bloom.shards).toBeGreaterThan(10);
    expect(Math.max(...counts) / Math.min(...counts)).toBeLessThan(1.05);
  });

  it("takes at most 10 bits per value", () => {
    const count = 100_000;
    const { bytes } = buildBloom(randomIds(count, 5, 2), count, traceIdHasher);
    expect(bytes.reduce((sum, shard) => sum + shard.length, 0) * 8).toBeLessThan(count * 10);
  });

  it("refuses a shard of another size", () => {
    const bloom = buildBloom([Buffer.from("a")], 1, bytesHasher);
    try {
      bloomMayHold(bloom, new Uint8Array(3), Buffer.from("a"), bytesHasher);
    } catch (error) {
      expect(hasCode(error, "Corrupt")).toBe(true);
      return;
    }
    throw new Error("nothing was thrown");
  });

  it("has the bits that FORMAT.md shows", () => {
    const pair = new Uint32Array(2);
    const hash = (hasher: BloomHasher, value: Uint8Array): number[] => {
      hasher(value, pair);
      return [...pair];
    };
    expect(hash(bytesHasher, Buffer.alloc(0))).toEqual([2872998923, 2414210737]);
    expect(hash(bytesHasher, Buffer.from("GET"))).toEqual([1191725093, 1554519178]);
    const id = Buffer.from("0123456789abcdef0123456789abcdef", "hex");
    expect(hash(traceIdHasher, id)).toEqual([3466453360, 3184513118]);
    const { bytes, ...shape } = buildBloom(countedIds(1, 10), 10, traceIdHasher);
    expect(shape).toEqual({ shards: 1, bitsPerShard: 96, hashes: 7 });
    expect(Buffer.concat(bytes).toString("hex")).toBe("bd18f195a24670c3ea1a7d36");
    const four = { shards: 4, bitsPerShard: 131072, hashes: 7 };
    expect(bloomShard(four, id, traceIdHasher)).toBe(2);
  });
});

function ones(byte: number): number {
  let count = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
  return count;
}
