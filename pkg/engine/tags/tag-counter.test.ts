import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TagCounter } from "./tag-counter.ts";

describe("a counter of tags", () => {
  it("adds counts from any source, and sorts by count and text", () => {
    const parts = [new TagCounter(1e6), new TagCounter(1e6)];
    parts[0].add("string", "b", 2);
    parts[0].add("int", "1", 5);
    parts[0].add("string", "", 9);
    parts[1].add("string", "b", 1);
    parts[1].add("string", "a", 3);
    parts[1].add("string", "1", 5);
    parts[1].add("string", "never", 0);
    const whole = new TagCounter(1e6);
    for (const part of parts) whole.addCounts(part.counts());
    expect(whole.sorted().map(({ kind, text, count }) => `${kind} ${text} ${count}`)).toEqual([
      "int 1 5",
      "string 1 5",
      "string a 3",
      "string b 3",
    ]);
    expect(whole.isTruncated).toBe(false);
    whole.addCounts({ groups: [], truncated: true });
    expect(whole.isTruncated).toBe(true);
  });

  it("stays within its memory, and keeps the most frequent texts", () => {
    const values = fc.array(fc.tuple(fc.nat({ max: 400 }), fc.nat({ max: 5 })), {
      maxLength: 600,
    });
    fc.assert(
      fc.property(values, fc.integer({ min: 0, max: 40_000 }), (pairs, bytesMax) => {
        const counter = new TagCounter(bytesMax);
        const all = new Map<string, number>();
        for (const [number, count] of pairs) {
          counter.add("string", `value-${number}`, count + 1);
          all.set(`value-${number}`, (all.get(`value-${number}`) ?? 0) + count + 1);
        }
        const kept = counter.sorted();
        const sizeOf = (text: string): number => text.length * 2 + 80;
        expect(kept.reduce((sum, { text }) => sum + sizeOf(text), 0)).toBeLessThanOrEqual(bytesMax);
        if (!counter.isTruncated) expect(new Map(kept.map((v) => [v.text, v.count]))).toEqual(all);
        for (const { text, count } of kept) expect(count).toBeLessThanOrEqual(all.get(text)!);
        const { groups, truncated } = counter.counts();
        const given = groups.flatMap(({ texts, counts }) =>
          texts.map((text, i) => ({ text, count: counts[i] })),
        );
        if (!truncated) {
          expect(given).toHaveLength(kept.length);
          return;
        }
        // Returned texts are at least as frequent as all others.
        const least = Math.min(...given.map(({ count }) => count));
        const names = new Set(given.map(({ text }) => text));
        for (const { text, count } of kept) {
          if (!names.has(text)) expect(count).toBeLessThanOrEqual(least);
        }
        const bytes = given.reduce((sum, { text }) => sum + sizeOf(text), 0);
        expect(bytes).toBeLessThanOrEqual(bytesMax / 8);
      }),
    );
  });
});
