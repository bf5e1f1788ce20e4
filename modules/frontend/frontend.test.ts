import { Registry } from "prom-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Clock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/log.ts";
import { frontendConfig } from "./config.ts";
import { Frontend } from "./frontend.ts";
import { headShard, TestSpans } from "./testing.ts";

const nowMs = 1_700_000_000_000;
const clock: Clock = { nowMs: () => nowMs, sleep: async () => undefined };
const second = 1_000_000_000n;
const now = BigInt(nowMs) * 1_000_000n;

const idA = "0000000000000000000000000000abcd";
const spans = new TestSpans();
let frontend: Frontend;
let base: string;

beforeAll(async () => {
  const partition = { index: 0, count: 1 };
  const one = { traceId: idA, service: "shop", startNano: now - 60n * second };
  const root = { ...one, spanId: "0000000000000001", name: "GET /", endNano: now - 59n * second };
  const child = { ...root, spanId: "0000000000000002", parentId: root.spanId, name: "db" };
  await spans.addBlock("a", [root], { partition, rowGroupSpans: 10 });
  spans.heads = [headShard([child], { partition, appId: "log/1/0", toOffset: 5 })];
  spans.transactions.set("log/1/0", 3);
  frontend = new Frontend({
    config: frontendConfig.parse({ port: 0 }),
    live: spans,
    stored: spans,
    multiTenancy: false,
    version: "0.1.0",
    readiness: () => undefined,
    configText: () => "a: 1\n",
    status: async () => ({ version: "0.1.0", startedMs: 0, notReady: undefined, tables: [] }),
    clock,
    log: openLog("silent"),
    registry: new Registry(),
  });
  base = `http://127.0.0.1:${(await frontend.start()).port}`;
});

afterAll(async () => {
  await frontend.stop();
});

describe("Frontend", () => {
  it("answers a trace by its id from heads and blocks", async () => {
    const response = await fetch(`${base}/api/v2/traces/abcd`);
    expect(response.status).toBe(200);
    const { trace } = (await response.json()) as { trace: { resourceSpans: object[] } };
    expect(trace.resourceSpans).toHaveLength(1);
  });

  it("searches", async () => {
    const response = await fetch(`${base}/api/search?q={}`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      traces: [{ traceID: idA, rootServiceName: "shop", spanSets: [{ matched: 2 }] }],
    });
    expect(spans.pins).toBe(0);
  });
});
