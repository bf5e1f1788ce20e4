import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bloomHash, partitionHash, partitionOf } from "./trace-hash.ts";

const seeds = { partition: 0x70617274, bloom1: 0x626c6d31, bloom2: 0x626c6d32 };

/** The oracle: a slow MurmurHash3_x86_32 in bigint. */
function murmur3Slow(bytes: Uint8Array, seed: number): number {
  const low = (value: bigint): bigint => value & 0xffff_ffffn;
  const rotate = (value: bigint, bits: bigint): bigint =>
    low(value << bits) | (value >> (32n - bits));
  const scramble = (word: bigint): bigint =>
    low(rotate(low(word * 0xcc9e2d51n), 15n) * 0x1b873593n);
  let hash = BigInt(seed);
  const whole = bytes.length - (bytes.length % 4);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < whole; at += 4) {
    hash ^= scramble(BigInt(view.getUint32(at, true)));
    hash = low(rotate(hash, 13n) * 5n + 0xe6546b64n);
  }
  let tail = 0n;
  for (let at = bytes.length - 1; at >= whole; at--) tail = (tail << 8n) | BigInt(bytes[at]);
  hash ^= scramble(tail) ^ BigInt(bytes.length);
  hash = low((hash ^ (hash >> 16n)) * 0x85ebca6bn);
  hash = low((hash ^ (hash >> 13n)) * 0xc2b2ae35n);
  return Number(hash ^ (hash >> 16n));
}

function bloomOf(id: Uint8Array): [number, number] {
  const out = new Uint32Array(2);
  bloomHash(id, 0, out);
  return [out[0], out[1]];
}

test("the oracle gives the published values of MurmurHash3_x86_32", () => {
  const fox = "The quick brown fox jumps over the lazy dog";
  const published: [string, number, number][] = [
    ["", 1, 0x514e28b7],
    ["abcd", 0x9747b28c, 0xf0478627],
    ["abc", 0x9747b28c, 0xc84a62dd],
    [fox, 0x9747b28c, 0x2fa826cd],
  ];
  for (const [input, seed, hash] of published) {
    expect(murmur3Slow(new TextEncoder().encode(input), seed), input).toBe(hash);
  }
});

test("hashes of random ids equal the oracle's, at any offset", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.nat({ max: 5 }),
      (id, offset) => {
        const placed = new Uint8Array(offset + 20);
        placed.set(id, offset);
        expect(partitionHash(placed, offset)).toBe(murmur3Slow(id, seeds.partition));
        expect(partitionOf(placed, offset, 8)).toBe(murmur3Slow(id, seeds.partition) % 8);
        expect(bloomOf(id)).toEqual([murmur3Slow(id, seeds.bloom1), murmur3Slow(id, seeds.bloom2)]);
      },
    ),
  );
});

test("the test vectors in FORMAT.md hold", () => {
  const format = readFileSync("pkg/otlp/FORMAT.md", "utf8");
  const rows = [
    ...format.matchAll(/^\| `([0-9a-f]{32})` \| `(\w{8})` \| `(\w{8})` \| `(\w{8})` \|/gm),
  ];
  expect(rows.length).toBeGreaterThanOrEqual(5);
  const hex = (value: number): string => value.toString(16).padStart(8, "0");
  for (const [, id, ...want] of rows) {
    const bytes = new Uint8Array(Buffer.from(id, "hex"));
    expect([partitionHash(bytes, 0), ...bloomOf(bytes)].map(hex), id).toEqual(want);
  }
});

describe("ids of a pattern spread like random ones", () => {
  const count = 20_000;
  const patterns: Record<string, (id: DataView, i: number) => void> = {
    "64-bit ids padded with leading zeros": (id, i) => {
      id.setBigUint64(8, BigInt(i + 1) * 0x9e3779b97f4a7c15n, false);
    },
    "counters padded with leading zeros": (id, i) => id.setUint32(12, i + 1, false),
    "counters in the first bytes": (id, i) => id.setUint32(0, i + 1, false),
    "X-Ray: seconds first, then a counter": (id, i) => {
      id.setUint32(0, 1_795_343_975 + (i >> 8), false);
      id.setUint32(12, i & 255, false);
    },
    "one bit set in steps of 256": (id, i) => id.setUint32(8, i * 256 + 1, false),
  };
  for (const [name, fill] of Object.entries(patterns)) {
    test(name, () => {
      const partitions = new Float64Array(16);
      const positions = new Set<number>();
      const bits = 1 << 18;
      const bloom = new Set<number>();
      for (let i = 0; i < count; i++) {
        const id = new Uint8Array(16);
        fill(new DataView(id.buffer), i);
        partitions[partitionOf(id, 0, 16)]++;
        const [h1, h2] = bloomOf(id);
        positions.add(h1);
        for (let k = 0; k < 7; k++) bloom.add(((h1 + k * h2) >>> 0) % bits);
      }
      // Chi-squared with 15 degrees of freedom is below 44.3 in 99.99 % of cases.
      let chiSquared = 0;
      for (const found of partitions) chiSquared += (found - count / 16) ** 2 / (count / 16);
      expect(chiSquared).toBeLessThan(44.3);
      expect(positions.size).toBeGreaterThan(count - 10);
      // n k / m = 0.534: 1 - e^-0.534 = 41.4 % of the bits are set.
      expect(bloom.size / bits).toBeGreaterThan(0.405);
      expect(bloom.size / bits).toBeLessThan(0.423);
    });
  }
});
