import { describe, expect, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { askFilled, breakBlock, child, filled, place, Rig, root } from "./http.testing.ts";
import { headShard } from "#pkg/query/testing/spans.ts";

const span = (n: number, name: string): object => ({
  spanID: `000000000000000${n}`,
  name,
  startTimeUnixNano: String(root.startNano),
  durationNanos: "1000000000",
});

describe("search", () => {
  it("answers with the keys that Grafana knows, and no others", async () => {
    await using rig = await filled();
    const spanSet = { spans: [span(1, "GET /"), span(2, "db")], matched: 2 };
    const found = (await rig.json("/api/search")) as { metrics: Record<string, unknown> };
    const { inspectedBytes, totalBlockBytes } = found.metrics;
    expect(found).toEqual({
      traces: [
        {
          traceID: root.traceId,
          rootServiceName: "shop",
          rootTraceName: "GET /",
          startTimeUnixNano: String(root.startNano),
          durationMs: 1000,
          spanSet,
          spanSets: [spanSet],
          serviceStats: { shop: { spanCount: 2, errorCount: 1 } },
        },
      ],
      metrics: {
        inspectedTraces: 1,
        inspectedBytes,
        totalBlocks: 1,
        completedJobs: 2,
        totalJobs: 2,
        totalBlockBytes,
        inspectedSpans: "2",
      },
    });
    expect([inspectedBytes, totalBlockBytes]).toEqual([expect.any(String), expect.any(String)]);
    expect(rig.spans.pins).toBe(0);
  });

  it("explains a search: what was asked, left out and read", async () => {
    await using rig = await filled();
    const q = encodeURIComponent('{ trace:duration > 10ms && name = "db" }');
    const found = await rig.json(`/api/search/explain?q=${q}`);
    expect(found).toMatchObject({
      query: '{ traceDuration > 10ms && name = "db" }',
      conditions: ["traceDuration > 10ms", 'name = "db"'],
      wholeTraces: true,
      spanPart: 'name = "db"',
      traceValues: ["traceDuration"],
      canFail: false,
      plan: { storedBlocks: 1, heads: 1, rowGroups: 1, askedShards: 2, excludedShards: 0, jobs: 6 },
      metrics: { totalBlocks: 1, totalJobs: 2, completedJobs: 2 },
      failures: [],
    });
    expect((found as { columns: string[] }).columns).toContain("start_unix_nano");
    expect(found).toHaveProperty("plan.askedMs", expect.any(Number));
  });

  it("refuses a search that knows of more traces than its memory holds", async () => {
    await using rig = new Rig({ queryMemoryBytesMax: 10_000 });
    rig.spans.heads = [headShard([root], { ...place, appId: "a", toOffset: 1 })];
    await rig.start();
    const answer = await rig.ask("/api/search");
    expect([answer.status, answer.text]).toEqual([200, expect.any(String)]);
    const many = Array.from({ length: 1024 }, (_, i) => ({
      ...root,
      traceId: (i + 1).toString(16).padStart(32, "0"),
    }));
    rig.spans.heads = [headShard(many, { ...place, appId: "a", toOffset: 1 })];
    const refused = await rig.ask("/api/search?limit=2000");
    expect([refused.status, refused.text]).toEqual([
      400,
      "the query needs more than 10000 bytes of memory for its traces: " +
        "narrow its range or its condition, or ask for fewer traces",
    ]);
    expect(rig.spans.pins).toBe(0);
  });

  it("shows spans that match with what the query names, one type per name", async () => {
    await using rig = new Rig();
    const values = { path: "/cart", code: 200n, ratio: 0.5, cached: true, mixed: 1n };
    const one = { ...root, attributes: values };
    const two = { ...child, attributes: { mixed: "x", ratio: Number.NaN } };
    const other = { ...child, spanId: "00000000000000dd" };
    rig.spans.heads = [headShard([one, two, other], { ...place, appId: "a", toOffset: 1 })];
    await rig.start();
    const q =
      '{ (.path = "/cart" && span.code = 200 && .ratio < 1.0 && .cached && span:duration >= 0s)' +
      ' || (.mixed = "x" && status != ok) }';
    const found = await rig.json(`/api/search?q=${encodeURIComponent(q)}`);
    expect(found).toMatchObject({ traces: [{ serviceStats: { shop: { spanCount: 3 } } }] });
    const [{ spanSets }] = (found as { traces: { spanSets: unknown[] }[] }).traces;
    expect(spanSets).toEqual([
      {
        matched: 2,
        spans: [
          {
            ...span(1, "GET /"),
            attributes: [
              { key: "path", value: { stringValue: "/cart" } },
              { key: "code", value: { intValue: "200" } },
              { key: "ratio", value: { doubleValue: 0.5 } },
              { key: "cached", value: { boolValue: true } },
              { key: "mixed", value: { stringValue: "1" } },
              { key: "status", value: { stringValue: "unset" } },
            ],
          },
          {
            ...span(2, "db"),
            attributes: [
              { key: "ratio", value: { doubleValue: "NaN" } },
              { key: "mixed", value: { stringValue: "x" } },
              { key: "status", value: { stringValue: "error" } },
            ],
          },
        ],
      },
    ]);
  });

  it("refuses a query that the spans make impossible", async () => {
    const answer = await askFilled(`/api/search?q=${encodeURIComponent("{ !.service.name }")}`);
    expect([answer.status, answer.text]).toEqual([
      400,
      "evaluate TraceQL: negate a string with !: it needs a boolean",
    ]);
  });

  it("says when the root has not come", async () => {
    await using rig = new Rig();
    rig.spans.heads = [headShard([child], { ...place, appId: "a", toOffset: 1 })];
    await rig.start();
    expect(await rig.json("/api/search")).toMatchObject({
      traces: [{ rootServiceName: "<root span not yet received>" }],
    });
  });

  it.each(["", "q=", "q={}", "q=%20{%20}%20", "q={+true+}", "q=%7B%0A%09%7D", "q={}&limit=&spss="])(
    "takes ?%s",
    async (query) => {
      await using rig = await filled();
      expect(await rig.json(`/api/search?${query}`)).toMatchObject({ traces: [{}] });
    },
  );

  it.each([
    ["start=1699999900&end=1699999941", 1],
    ["start=1699999940&end=1699999941", 1],
    ["start=1699999900&end=1699999940", 0],
    ["start=1699999942&end=1700000000", 0],
    ["start=0&end=4294967295", 1],
    ["limit=262144&spss=0", 1],
    ["since=2m", 1],
    ["since=30s", 0],
    ["since=30s&start=0&end=4294967295", 0],
  ])("finds by %s: %i", async (query, traces) => {
    const { text } = await askFilled(`/api/search?${query}`);
    const found = JSON.parse(text) as { traces: object[] };
    expect(found.traces).toHaveLength(traces);
  });

  it.each([
    ["limit=0", "invalid limit: must be a positive number"],
    ["limit=262145", "limit 262145 exceeds the maximum of 262144"],
    ["limit=-1", 'invalid limit: must be a number from 0 to 4294967295, not "-1"'],
    ["limit=1e3", 'invalid limit: must be a number from 0 to 4294967295, not "1e3"'],
    [
      "limit=99999999999999999999",
      'invalid limit: must be a number from 0 to 4294967295, not "99999999999999999999"',
    ],
    ["spss=101", "spss 101 exceeds the maximum of 100"],
    ["spss=%F0%9F%98%80", 'invalid spss: must be a number from 0 to 4294967295, not "😀"'],
    ["tags=%3Db", "invalid tags: unexpected '=' at pos 1"],
    ["tags=a%3Db+a%3Dc", "invalid tags: tag a has been set twice"],
    ["minDuration=x", 'invalid minDuration: must be a duration like 100ms, not "x"'],
    ["maxDuration=1d", 'invalid maxDuration: must be a duration like 100ms, not "1d"'],
    ["minDuration=2s&maxDuration=1s", "invalid maxDuration: must not be less than minDuration"],
    ["since=1", 'invalid since: must be a duration like 1h, not "1"'],
    ["start=1", "only one of start and end provided: must provide both or neither"],
    ["end=1", "only one of start and end provided: must provide both or neither"],
    ["start=2&end=1", "http parameter start must be before end. received start=2 end=1"],
    [
      "start=1700000000000&end=1700000000001",
      'invalid start: must be unix seconds from 0 to 4294967295, not "1700000000000"',
    ],
    [
      "start=2023-01-01T00:00:00Z&end=5",
      'invalid start: must be unix seconds from 0 to 4294967295, not "2023-01-01T00:00:00Z"',
    ],
    ["q={}%20|%20rate()", "not supported yet: the metrics function rate"],
    ["q={.a=1}%26%26{.b=1}", "not supported yet: the spanset operator &&"],
    ["q={}&tags=a%3Db", "invalid request: can't specify tags and q"],
    [`q={${"%20".repeat(128 * 1024)}}`, "query exceeds the maximum size of 131072 bytes"],
  ])("refuses ?%s", async (query, text) => {
    const answer = await askFilled(`/api/search?${query}`);
    expect([answer.status, answer.text]).toEqual([400, text]);
  });

  it.each(["{", "{{}}", "{tr ue}", "{ name = 3 }", "\n{ .a =~ `(` }"])(
    "says where it does not understand %j",
    async (q) => {
      const answer = await askFilled(`/api/search?q=${encodeURIComponent(q)}`);
      expect(answer.status).toBe(400);
      const line = q.startsWith("\n") ? 2 : 1;
      expect(answer.text).toMatch(
        new RegExp(`^invalid TraceQL query: parse error at line ${line}, col \\d+: .+`),
      );
    },
  );

  it("is quick about a long query of almost nothing", async () => {
    const answer = await askFilled(`/api/search?q={${"%20".repeat(100_000)}`);
    expect(answer.status).toBe(400);
  });

  it("says what could not be read in a header, and by its count of jobs", async () => {
    await using rig = await filled();
    breakBlock(rig);
    const answer = await rig.ask("/api/search");
    expect(answer.status).toBe(200);
    expect(answer.headers["x-spoor-partial"]).toContain("checksum? does not match");
    expect(JSON.parse(answer.text)).toMatchObject({
      traces: [{ traceID: root.traceId }],
      metrics: { completedJobs: 1, totalJobs: 2 },
    });
  });

  it("does not show an empty list when the bucket is out of reach", async () => {
    await using rig = new Rig();
    rig.spans.storedError = new SpoorError("Unavailable", "bucket is away");
    await rig.start();
    const answer = await rig.ask("/api/search");
    expect(answer.status).toBe(503);
    expect(answer.text).toContain("bucket is away");
  });
});
