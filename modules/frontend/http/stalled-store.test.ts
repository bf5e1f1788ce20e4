import { describe, expect, it } from "vitest";
import type { StoredSpans } from "#pkg/questions/shards.ts";
import { faultStore } from "#pkg/objstore/fault.testing.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { filled, place, type Rig, root } from "./http.testing.ts";
import { TestSpans } from "#pkg/query/testing/spans.ts";

/** A bucket that takes requests and never answers. */
const hung = faultStore(new MemoryStore(), () => "slow", {
  wait: () => new Promise(() => undefined),
});

async function neverAnswers(): Promise<never> {
  await hung.get("anything");
  throw new Error("it has answered");
}

/** Which questions to stored spans are never answered. */
function hangingAt(spans: StoredSpans, hangs: (question: string) => boolean): StoredSpans {
  return {
    snapshot: async (...args) => {
      if (hangs("snapshot")) await neverAnswers();
      return await spans.snapshot(...args);
    },
    ask: async (question, ...args) => {
      if (hangs(question === "trace" ? "find" : "shards")) await neverAnswers();
      return await spans.ask(question, ...args);
    },
    mayHold: (...args) => spans.mayHold(...args),
    indexedTags: async (...args) => {
      if (hangs("tags")) await neverAnswers();
      return await spans.indexedTags(...args);
    },
  };
}

async function rigWith(hangs: (question: string) => boolean): Promise<Rig> {
  const spans = new TestSpans();
  const stored: StoredSpans = hangingAt(spans, hangs);
  const rig = await filled({ storeStallMs: 20 }, { stored });
  await spans.addBlock("a", [root], place);
  spans.transactions.set("log/1/0", 3);
  return rig;
}

describe("a bucket that never answers", () => {
  it.each(["snapshot", "find"])("leaves look-ups by id what is live: %s", async (at) => {
    await using rig = await rigWith((question) => question === at);
    const { status, text } = await rig.ask("/api/v2/traces/abcd");
    expect(status).toBe(200);
    const answer = JSON.parse(text) as { status: string; message: string };
    expect(answer.status).toBe("PARTIAL");
    expect(answer.message).toMatch(/the bucket did not answer within 0.02 s/);
    expect(text).toContain('"db"');
    expect(text).not.toContain('"GET /"');
    expect((await rig.ask("/api/traces/abcd")).status).toBe(503);
  });

  it.each(["snapshot", "shards"])("leaves searches what is live: %s", async (at) => {
    await using rig = await rigWith((question) => question === at);
    const { status, text, headers } = await rig.ask(`/api/search?q=${encodeURIComponent("{}")}`);
    expect(status).toBe(200);
    expect(headers["x-spoor-partial"]).toMatch(/the bucket did not answer/);
    expect(text).toContain("abcd");
  });

  it.each(["snapshot", "tags"])("leaves names of tags what is live: %s", async (at) => {
    await using rig = await rigWith((question) => question === at);
    const { status, text, headers } = await rig.ask("/api/v2/search/tags");
    expect(status).toBe(200);
    expect(headers["x-spoor-partial"]).toMatch(/the bucket did not answer/);
    expect(text).toContain("service.name");
    const metrics = (await rig.ask("/metrics")).text;
    expect(metrics).toMatch(/spoor_frontend_stalled_store_queries_total 1/);
  });

  it("costs nothing where it answers", async () => {
    await using rig = await rigWith(() => false);
    const { text, headers } = await rig.ask("/api/v2/traces/abcd");
    expect(headers["x-spoor-partial"]).toBeUndefined();
    expect(text).toContain('"GET /"');
    expect(text).not.toContain("PARTIAL");
  });
});
