import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashRecord, RetryMemory } from "./retry-memory.ts";

const hashOf = (key: number): Buffer => hashRecord(0, "acme", [Buffer.from(String(key))]);
const WINDOW_MS = 100;

/** The slow and obvious implementation: a list of all entries. */
class PlainMemory {
  entries: { key: number; offset: number; ms: number }[] = [];
  readonly max: number;
  constructor(max: number) {
    this.max = max;
  }
  add(key: number, offset: number, ms: number): void {
    while (this.entries.length > 0 && ms - this.entries[0].ms >= WINDOW_MS) this.entries.shift();
    if (this.entries.length === this.max) this.entries.shift();
    this.entries.push({ key, offset, ms });
  }
  find(key: number, nowMs: number): number {
    const found = this.entries.findLast((e) => e.key === key && nowMs - e.ms < WINDOW_MS);
    return found?.offset ?? -1;
  }
}

describe("retry memory", () => {
  it("remembers what a plain list remembers", () => {
    const steps = fc.array(fc.record({ key: fc.nat(30), waitMs: fc.nat(12) }), { maxLength: 300 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 40 }), (steps, entriesMax) => {
        const memory = new RetryMemory({ windowMs: WINDOW_MS, entriesMax });
        const plain = new PlainMemory(entriesMax);
        let nowMs = 1000;
        for (const [offset, { key, waitMs }] of steps.entries()) {
          nowMs += waitMs;
          memory.add(hashOf(key), offset, nowMs);
          plain.add(key, offset, nowMs);
          for (const probe of [key, (key * 7) % 31, (key + 1) % 31]) {
            expect(memory.find(hashOf(probe), nowMs)).toBe(plain.find(probe, nowMs));
          }
          expect(memory.count).toBe(plain.entries.length);
        }
        checkRange(memory, nowMs, steps.length);
      }),
    );
  });

  it("grows beyond its first size and keeps all", () => {
    const memory = new RetryMemory({ windowMs: WINDOW_MS, entriesMax: 5000 });
    for (let i = 0; i < 6000; i++) memory.add(hashOf(i), i, 0);
    expect(memory.count).toBe(5000);
    expect(memory.evicted).toBe(1000);
    for (let i = 0; i < 6000; i++) expect(memory.find(hashOf(i), 0)).toBe(i < 1000 ? -1 : i);
    memory.expire(WINDOW_MS);
    expect(memory.count).toBe(0);
  });

  it("keeps entries of an earlier process for a whole window, and counts none as evicted", () => {
    const memory = new RetryMemory({ windowMs: WINDOW_MS, entriesMax: 10 });
    for (let i = 0; i < 15; i++) memory.recover(hashOf(i), i, 500);
    expect([memory.count, memory.evicted, memory.firstOffset]).toEqual([10, 0, 5]);
    memory.add(hashOf(20), 15, 550);
    expect([memory.find(hashOf(6), 599), memory.find(hashOf(6), 600)]).toEqual([6, -1]);
    memory.expire(600);
    expect([memory.count, memory.evicted, memory.firstOffset]).toEqual([1, 1, 15]);
    memory.expire(650);
    expect(memory.firstOffset).toBeUndefined();
  });

  it("hashes partition, tenant and bytes, not how they are cut", () => {
    const [a, b] = [Buffer.from("ab"), Buffer.from("c")];
    const all = [
      hashRecord(0, "t", [a, b]),
      hashRecord(1, "t", [a, b]),
      hashRecord(0, "u", [a, b]),
      hashRecord(0, "ta", [Buffer.from("bc")]),
      hashRecord(0, "t", [a]),
    ];
    expect(new Set(all.map((hash) => hash.toString("hex"))).size).toBe(all.length);
    expect(hashRecord(0, "t", [Buffer.from("abc")])).toEqual(all[0]);
    expect(all[0]).toHaveLength(16);
  });
});

/** Encodes and recovers a range, and checks that it finds the same entries. */
function checkRange(memory: RetryMemory, nowMs: number, end: number): void {
  const from = end >> 1;
  const copy = new RetryMemory({ windowMs: WINDOW_MS, entriesMax: 1000 });
  copy.recoverEncoded(memory.encodeRange(0, from, nowMs), nowMs);
  copy.recoverEncoded(memory.encodeRange(Math.max(0, from - 3), end, nowMs), nowMs);
  for (let key = 0; key <= 30; key++) {
    expect(copy.find(hashOf(key), nowMs)).toBe(memory.find(hashOf(key), nowMs));
  }
}
