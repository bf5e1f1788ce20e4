import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { TagQuestion, TagScope } from "#pkg/api/tags.ts";
import { openBlock } from "#pkg/block/reader.ts";
import { cutTraces, sampleTraces, storeOf, testKey } from "#pkg/block/block.testing.ts";
import { countRowGroupTags, type IndexedTags, tagsOfIndex } from "./block-tags.ts";
import { TagCounter } from "./tag-counter.ts";

const scopes: TagScope[] = ["span", "resource", "event", "link", "instrumentation"];
const bytesMax = 1e6;

interface Told {
  /** Counts from indexes alone. */
  indexed: string[];
  /** Counts from indexes, and from rows for the rest. */
  whole: string[];
  unread: IndexedTags["unread"];
}

async function tellOf(
  bytes: Uint8Array,
  question: TagQuestion,
  rowGroups?: readonly number[],
): Promise<Told> {
  const store = await storeOf(bytes);
  const reader = await openBlock({ store, key: testKey, sizeBytes: bytes.length });
  const block = { index: reader.index, reader: async () => reader };
  const { counts, unread } = await tagsOfIndex(reader.index, rowGroups, { question, bytesMax });
  const counter = new TagCounter(bytesMax);
  counter.addCounts(counts);
  const shown = (): string[] =>
    counter.sorted().map(({ kind, text, count }) => `${kind} ${text} ${count}`);
  const indexed = shown();
  for (const { rowGroup, question: rest } of unread) {
    const range = { startNano: 0n, endNano: 2n ** 62n };
    counter.addCounts(
      await countRowGroupTags(block, rowGroup, { question: rest, ...range, bytesMax }),
    );
  }
  reader.close();
  return { indexed, whole: shown(), unread };
}

const old = readFileSync(new URL("../../../testdata/blocks/v1.parquet", import.meta.url));
/** The same spans in the current format. */
const block = cutTraces(sampleTraces(6), { rowGroupSpans: 8 }).bytes;

describe("tags of a block", () => {
  it("are equal for all versions of its index", async () => {
    const questions: TagQuestion[] = [
      { kind: "names", scopes },
      ...["http.method", "code", "ratio", "cached", "order", "odd key", "tags"].map(
        (name): TagQuestion => ({
          kind: "values",
          references: scopes.map((scope) => ({ kind: "attribute", scope, name })),
        }),
      ),
      { kind: "values", references: [{ kind: "intrinsic", name: "trace:rootName" }] },
      { kind: "values", references: [{ kind: "intrinsic", name: "event:name" }] },
    ];
    for (const question of questions) {
      const now = await tellOf(block, question);
      expect(now.unread, JSON.stringify(question)).toEqual([]);
      const before = await tellOf(old, question);
      expect(before.whole, JSON.stringify(question)).toEqual(now.whole);
      expect((await tellOf(block, question, [0, 1, 2])).whole).toEqual(now.whole);
    }
  });

  it("of events and links, and only these, are read from rows if the index is old", async () => {
    const { indexed, whole, unread } = await tellOf(old, { kind: "names", scopes });
    expect(indexed.filter((one) => one.startsWith("event"))).toEqual([]);
    expect(whole).toContain("event http.method 6");
    expect(unread.map(({ rowGroup }) => rowGroup)).toEqual([0, 1, 2]);
    for (const { question } of unread) {
      expect(question).toEqual({ kind: "names", scopes: ["event", "link"] });
    }
    const attribute = (scope: TagScope) => ({ kind: "attribute" as const, scope, name: "code" });
    const { unread: values } = await tellOf(old, {
      kind: "values",
      references: [attribute("span"), attribute("event")],
    });
    expect(values[0].question).toEqual({ kind: "values", references: [attribute("event")] });
  });
});
