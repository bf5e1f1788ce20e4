/** Lines 22 to 26 of what Grafana asks of a Tempo data source, and what else the endpoints promise. */
import { describe, expect, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { HeadData } from "#pkg/columns/head.ts";
import { headOfRecord, traceDataOf } from "#pkg/engine/testing/spans.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { FrontendConfig } from "#modules/frontend/config.ts";
import { breakBlock, place, Rig, root } from "./http.testing.ts";
import { headShardOf } from "#pkg/query/testing/spans.ts";

const values = {
  "http.status_code": 200n,
  "http.path": "/cart",
  'odd/key with:all "signs"': "x/y",
  "k%41": "percent",
  größe: "weit",
  ratio: 0.5,
  cached: true,
  empty: "",
  foo: "plain",
};

/** A span with an event, a link and a scope; the second one is an error. */
function dataOf(number: number, extra: Record<string, string | bigint> = {}): HeadData {
  const spanId = `000000000000000${number}`;
  const service = number === 1 ? "shop" : "cart";
  const attributes = { ...values, ...extra };
  const data = traceDataOf([
    { ...root, spanId, service, attributes, name: `op ${number}`, isError: number === 2 },
  ]);
  const [{ scope, spans }] = data.resourceSpans[0].scopeSpans;
  scope.name = "lib";
  scope.attributes.push({ key: "kind", value: { kind: "string", value: "auto" } });
  spans[0].status.message = "went wrong";
  spans[0].kind = 2;
  spans[0].events.push({
    timeUnixNano: spans[0].startTimeUnixNano,
    name: "exception",
    attributes: [{ key: "exception.message", value: { kind: "string", value: "boom" } }],
    droppedAttributesCount: 0,
  });
  spans[0].links.push({
    traceId: new Uint8Array(16).fill(1),
    spanId: new Uint8Array(8).fill(2),
    traceState: "",
    attributes: [{ key: "why", value: { kind: "string", value: "retry" } }],
    droppedAttributesCount: 0,
    flags: 0,
  });
  return headOfRecord(encodeTraceData(data));
}

/** Span 1 in a block, span 2 in a head. */
async function filledRig(config: Partial<FrontendConfig> = {}): Promise<Rig> {
  const rig = new Rig(config);
  await rig.spans.addBlockOf("a", dataOf(1), place);
  const own = { only: "head", "http.status_code": 500n };
  rig.spans.heads = [headShardOf(dataOf(2, own), { ...place, appId: "log/1/0", toOffset: 5 })];
  rig.spans.transactions.set("log/1/0", 3);
  return await rig.start();
}

interface Scopes {
  scopes: { name: string; tags: string[] }[];
}

async function scopesOf(rig: Rig, query = ""): Promise<Record<string, string[]>> {
  const { scopes } = (await rig.json(`/api/v2/search/tags${query}`)) as Scopes;
  return Object.fromEntries(scopes.map(({ name, tags }) => [name, tags]));
}

async function valuesAt(rig: Rig, path: string): Promise<[string, string][]> {
  const answer = await rig.ask(path);
  expect(answer.status, `${path}: ${answer.text}`).toBe(200);
  const { tagValues } = JSON.parse(answer.text) as { tagValues: { type: string; value: string }[] };
  return tagValues.map(({ type, value }) => [type, value]);
}

async function valuesOf(rig: Rig, tag: string, query = ""): Promise<[string, string][]> {
  return await valuesAt(rig, `/api/v2/search/tag/${tag}/values?limit=5000&tag=${tag}${query}`);
}

describe("names of tags", () => {
  it("come by scope, intrinsics always, most frequent first", async () => {
    await using rig = await filledRig();
    const { intrinsic, ...scopes } = await scopesOf(rig, "?limit=5000");
    expect(scopes).toEqual({
      resource: ["service.name"],
      span: [
        "cached",
        "empty",
        "foo",
        "größe",
        "http.path",
        "http.status_code",
        "k%41",
        'odd/key with:all "signs"',
        "ratio",
        "only",
      ].toSorted((a, b) => (a === "only" ? 1 : b === "only" ? -1 : a < b ? -1 : 1)),
      event: ["exception.message"],
      link: ["why"],
      instrumentation: ["kind"],
    });
    expect(intrinsic).toHaveLength(25);
    expect(intrinsic).toEqual(
      expect.arrayContaining([
        "duration",
        "name",
        "status",
        "kind",
        "rootServiceName",
        "event:name",
      ]),
    );
    expect(rig.spans.pins).toBe(0);
  });

  it("have the keys that Tempo has, and no others", async () => {
    await using rig = await filledRig();
    const answer = (await rig.json("/api/v2/search/tags")) as Record<string, object>;
    expect(Object.keys(answer)).toEqual(["scopes", "metrics"]);
    const block = rig.spans.blocks[0];
    expect(answer["metrics"]).toEqual({
      inspectedBytes: "0",
      totalJobs: 2,
      completedJobs: 2,
      totalBlocks: 1,
      totalBlockBytes: String(block.sizeBytes),
    });
  });

  it("are at most as many per scope as the limit says", async () => {
    await using rig = await filledRig();
    const scopes = await scopesOf(rig, "?limit=2");
    expect(Object.values(scopes).map((tags) => tags.length)).toEqual([2, 1, 2, 1, 1, 1]);
    for (const limit of ["0", "-1", "x", ""]) {
      expect((await scopesOf(rig, `?limit=${limit}`))["span"]).toHaveLength(10);
    }
  });

  it.each([
    ["", ["intrinsic", "resource", "span", "event", "link", "instrumentation"]],
    ["none", ["intrinsic", "resource", "span", "event", "link", "instrumentation"]],
    ["intrinsic", ["intrinsic"]],
    ["span", ["span"]],
    ["event", ["event"]],
    ["link", ["link"]],
    ["resource", ["resource"]],
    ["instrumentation", ["instrumentation"]],
    ["trace", []],
  ])("of scope %j are those of %j", async (scope, expected) => {
    await using rig = await filledRig();
    expect(Object.keys(await scopesOf(rig, `?scope=${scope}`))).toEqual(expected);
  });

  it("of another scope are refused", async () => {
    await using rig = await filledRig();
    const answer = await rig.ask("/api/v2/search/tags?scope=spam");
    expect([answer.status, answer.text]).toEqual([400, "invalid scope: spam"]);
  });

  it("are those of spans that match a condition", async () => {
    await using rig = await filledRig();
    const q = encodeURIComponent("{ status = error }");
    expect((await scopesOf(rig, `?q=${q}`))["span"]).toContain("only");
    const other = encodeURIComponent("{ status != error }");
    expect((await scopesOf(rig, `?q=${other}`))["span"]).not.toContain("only");
  });

  it("are one list without scopes in the first API", async () => {
    await using rig = await filledRig();
    const all = (await rig.json("/api/search/tags")) as { tagNames: string[] };
    expect(Object.keys(all)).toEqual(["tagNames", "metrics"]);
    expect(all.tagNames).toEqual(expect.arrayContaining(["service.name", "foo", "why", "kind"]));
    expect(all.tagNames).not.toContain("duration");
    const intrinsic = (await rig.json("/api/search/tags?scope=intrinsic")) as typeof all;
    expect(intrinsic.tagNames).toContain("duration");
    expect(await rig.json("/api/search/tags?scope=span&limit=3")).toMatchObject({
      tagNames: ["cached", "empty", "foo"],
    });
  });
});

describe("values of a tag", () => {
  it.each([
    [
      "resource.service.name",
      [
        ["string", "cart"],
        ["string", "shop"],
      ],
    ],
    [
      "span.http.status_code",
      [
        ["int", "200"],
        ["int", "500"],
      ],
    ],
    [".http.path", [["string", "/cart"]]],
    [".ratio", [["float", "0.5"]]],
    ["span.cached", [["bool", "true"]]],
    ["span.empty", []],
    ["span.nothing", []],
    [".only", [["string", "head"]]],
    [
      "name",
      [
        ["string", "op 1"],
        ["string", "op 2"],
      ],
    ],
    [
      "span:name",
      [
        ["string", "op 1"],
        ["string", "op 2"],
      ],
    ],
    ["statusMessage", [["string", "went wrong"]]],
    [
      "rootServiceName",
      [
        ["string", "cart"],
        ["string", "shop"],
      ],
    ],
    [
      "trace:rootName",
      [
        ["string", "op 1"],
        ["string", "op 2"],
      ],
    ],
    ["event:name", [["string", "exception"]]],
    ["event.exception.message", [["string", "boom"]]],
    ["link.why", [["string", "retry"]]],
    ["instrumentation.kind", [["string", "auto"]]],
    ["instrumentation:name", [["string", "lib"]]],
    ["duration", []],
    ["traceDuration", []],
    ["span:id", []],
    ["nestedSetParent", []],
  ])("%s are %j", async (tag, expected) => {
    await using rig = await filledRig();
    expect(await valuesOf(rig, tag)).toEqual(expected);
  });

  it.each(["status", "span:status"])("of %s are its words, nothing is read", async (tag) => {
    await using rig = await filledRig();
    expect(await valuesOf(rig, tag)).toEqual([
      ["keyword", "ok"],
      ["keyword", "error"],
      ["keyword", "unset"],
    ]);
    expect(rig.spans.calls).toEqual([]);
  });

  it.each(["kind", "span:kind"])("of %s are its words", async (tag) => {
    await using rig = await filledRig();
    const words = ["client", "server", "producer", "consumer", "internal", "unspecified"];
    expect(await valuesOf(rig, tag)).toEqual(words.map((word) => ["keyword", word]));
  });

  it("are found by any name, however it was encoded", async () => {
    await using rig = await filledRig();
    const odd = 'odd/key with:all "signs"';
    const quoted = `span."odd/key with:all \\"signs\\""`;
    const plain = (name: string): string => encodeURIComponent(name);
    const twice = (name: string): string => encodeURIComponent(encodeURIComponent(name));
    for (const encode of [plain, twice]) {
      expect(await valuesOf(rig, encode(quoted))).toEqual([["string", "x/y"]]);
      expect(await valuesOf(rig, encode(`span.${odd}`))).toEqual([["string", "x/y"]]);
      expect(await valuesOf(rig, encode(".größe"))).toEqual([["string", "weit"]]);
      expect(await valuesOf(rig, encode("span:status"))).toHaveLength(3);
    }
    expect(await valuesOf(rig, "span%253Astatus")).toHaveLength(3);
    // Slashes and colons as they are.
    expect(await valuesOf(rig, 'span.odd/key%20with:all%20"signs"')).toEqual([["string", "x/y"]]);
    expect(await valuesOf(rig, "span.k%2541")).toEqual([]);
    expect(await valuesOf(rig, "span.k%252541")).toEqual([["string", "percent"]]);
    expect(await valuesOf(rig, "span.%ff")).toEqual([]);
  });

  it.each(["foo", "spam.x", "span.", "{}", "parent.x", "name%20=%201", "%20"])(
    "are refused for %s, which is no name",
    async (tag) => {
      await using rig = await filledRig();
      const answer = await rig.ask(`/api/v2/search/tag/${tag}/values`);
      expect(answer.status).toBe(400);
      expect(answer.text).toMatch(/^please provide a valid tagName: /);
    },
  );

  it("are those of spans that match; what is unfinished is ignored", async () => {
    await using rig = await filledRig();
    const asked = async (q: string): Promise<string[]> => {
      const found = await valuesOf(rig, "name", `&q=${encodeURIComponent(q)}`);
      return found.map(([, value]) => value);
    };
    const both = ["op 1", "op 2"];
    for (const q of ["{}", "{ }", "{ true }", "{ .a = 1 && .b = ", "{ name = }", "{ name = 3 }"]) {
      expect(await asked(q), q).toEqual(q.startsWith("{ .a") ? [] : both);
    }
    for (const q of ["{", "}", "{ .foo = ", "{ && }", "((", "{ trace:duration > 5h }", "🙂"]) {
      expect(await asked(q), q).toEqual(both);
    }
    // Impossible with these spans: `!` of a text.
    expect(await asked("{ !.foo }")).toEqual(both);
    expect(await asked("{ nestedSetParent < 0 && status = error }")).toEqual(["op 2"]);
    expect(await asked('{ resource.service.name = "shop" }')).toEqual(["op 1"]);
    expect(await asked('{ resource.service.name = "shop" && .foo = ')).toEqual(["op 1"]);
    expect(await asked("{ .http.status_code = 500 } | rate()")).toEqual(["op 2"]);
    expect(await asked("{ .http.status_code = 999 }")).toEqual([]);
    expect(await asked(`{ .a = "${"x".repeat(200_000)}" }`)).toEqual(both);
  });

  it.each([
    ["start=1699999900&end=1699999941", 2],
    ["start=1699999942&end=1700000000", 0],
    ["start=1699999900.5&end=1699999941.25", 2],
    ["start=1699999900000000000&end=1699999941000000000", 2],
    ["start=2023-11-14T22:11:40Z&end=2023-11-14T23:12:21%2B01:00", 2],
    ["since=1h", 2],
    ["since=30s", 0],
    ["since=1w&start=1&end=2", 2],
    ["", 2],
  ])("in the range of %j are %i", async (range, count) => {
    await using rig = await filledRig();
    expect(await valuesOf(rig, "name", `&${range}`)).toHaveLength(count);
  });

  it.each([
    ["start=1", "only one of start and end provided: must provide both or neither"],
    ["start=2&end=1", "http parameter start must be before end. received start=2 end=1"],
    ["start=x&end=1", 'invalid start: must be unix seconds, nanoseconds or RFC 3339, not "x"'],
    [
      "start=1&end=2023-13-01T00:00:00Z",
      "invalid end: must be unix seconds, nanoseconds or RFC 3339",
    ],
    ["since=5", 'invalid since: must be a duration like 1h, not "5"'],
    ["since=-1h", 'invalid since: must be a duration like 1h, not "-1h"'],
  ])("with %s are refused", async (query, text) => {
    await using rig = await filledRig();
    const answer = await rig.ask(`/api/v2/search/tag/name/values?${query}`);
    expect(answer.status).toBe(400);
    expect(answer.text).toContain(text);
  });

  it("have the number of their spans beside them if that is asked for", async () => {
    await using rig = await filledRig();
    const ask = async (query: string): Promise<unknown[]> => {
      const path = `/api/v2/search/tag/resource.service.name/values${query}`;
      return ((await rig.json(path)) as { tagValues: unknown[] }).tagValues;
    };
    const plain = (await ask("")) as { type: string; value: string }[];
    expect(plain.length).toBeGreaterThan(0);
    expect(plain.every((one) => Object.keys(one).join() === "type,value")).toBe(true);
    const counted = (await ask("?counts=true")) as { value: string; count: number }[];
    expect(counted.map(({ value }) => value)).toEqual(plain.map(({ value }) => value));
    const counts = counted.map(({ count }) => count);
    expect(counts).toEqual(counts.toSorted((a, b) => b - a));
    expect(Math.min(...counts)).toBeGreaterThan(0);
  });

  it("are at most as many as the limit says, most frequent first", async () => {
    await using rig = await filledRig();
    await rig.spans.addBlockOf("b", dataOf(1), place);
    expect(await valuesAt(rig, "/api/v2/search/tag/name/values?limit=1")).toEqual([
      ["string", "op 1"],
    ]);
    expect(await valuesAt(rig, "/api/v2/search/tag/name/values")).toHaveLength(2);
  });

  it("are texts alone in the first API, where some names mean something else", async () => {
    await using rig = await filledRig();
    const ask = async (tag: string): Promise<string[]> => {
      const found = (await rig.json(`/api/search/tag/${tag}/values`)) as { tagValues: string[] };
      expect(Object.keys(found)).toEqual(["tagValues", "metrics"]);
      return found.tagValues;
    };
    expect(await ask("service.name")).toEqual(["cart", "shop"]);
    expect(await ask("http.status_code")).toEqual(["200", "500"]);
    expect(await ask("status.code")).toEqual(["ok", "error", "unset"]);
    expect(await ask("error")).toEqual(["true"]);
    expect(await ask("name")).toEqual(["op 1", "op 2"]);
    expect(await ask("root.name")).toEqual(["op 1", "op 2"]);
    expect(await ask("root.service.name")).toEqual(["cart", "shop"]);
    expect(await ask("status")).toEqual(["ok", "error", "unset"]);
    expect(await ask(encodeURIComponent('odd/key with:all "signs"'))).toEqual(["x/y"]);
    expect(await ask("span.foo")).toEqual([]);
  });

  it("are cut at the bytes that an answer may have", async () => {
    await using rig = await filledRig({ tagAnswerBytesMax: 700 });
    const extra = Array.from({ length: 50 }, (_, i) => dataOf(1, { many: `value-${i}` }));
    for (const [i, data] of extra.entries()) await rig.spans.addBlockOf(`c${i}`, data, place);
    const answer = await rig.ask("/api/v2/search/tag/span.many/values");
    expect(answer.body.length).toBeLessThanOrEqual(700);
    const { tagValues } = JSON.parse(answer.text) as { tagValues: object[] };
    expect(tagValues.length).toBeGreaterThan(2);
    expect(tagValues.length).toBeLessThan(20);
    const metrics = (await rig.ask("/metrics")).text;
    expect(metrics).toContain('spoor_frontend_cut_tag_answers_total{reason="bytes"} 1');
    expect(answer.headers["x-spoor-partial"]).toBeUndefined();
  });

  it("say in a header if there are more than memory for them", async () => {
    await using rig = await filledRig({ tagMemoryBytesMax: 1000 });
    const extra = Array.from({ length: 30 }, (_, i) => dataOf(1, { many: `value-${i}` }));
    for (const [i, data] of extra.entries()) await rig.spans.addBlockOf(`c${i}`, data, place);
    const answer = await rig.ask("/api/v2/search/tag/span.many/values");
    expect(answer.status).toBe(200);
    expect(answer.headers["x-spoor-partial"]).toBe(
      "the rarest tags were dropped for lack of memory",
    );
    const metrics = (await rig.ask("/metrics")).text;
    expect(metrics).toContain('spoor_frontend_cut_tag_answers_total{reason="memory"} 1');
  });

  it("of a block that cannot be read are missing, and a header says so", async () => {
    await using rig = await filledRig();
    rig.spans.brokenIndex = new SpoorError("Corrupt", "checksum does not match");
    const answer = await rig.ask("/api/v2/search/tag/name/values");
    expect(answer.status).toBe(200);
    expect(answer.headers["x-spoor-partial"]).toContain("a.parquet: checksum does not match");
    expect(JSON.parse(answer.text)).toMatchObject({
      tagValues: [{ type: "string", value: "op 2" }],
      metrics: { totalJobs: 2, completedJobs: 1 },
    });
    breakBlock(rig);
    const filtered = await rig.ask("/api/v2/search/tag/name/values?q={name!=%22%22}");
    expect(filtered.headers["x-spoor-partial"]).toContain("does not match");
    expect(JSON.parse(filtered.text)).toMatchObject({ tagValues: [{ value: "op 2" }] });
  });

  it("are an error where partial answers are", async () => {
    await using rig = await filledRig({ partialResults: "error" });
    rig.spans.brokenIndex = new SpoorError("Corrupt", "checksum does not match");
    expect((await rig.ask("/api/v2/search/tags")).status).toBe(503);
  });

  it("are no empty list when the bucket is out of reach", async () => {
    await using rig = new Rig();
    rig.spans.storedError = new SpoorError("Unavailable", "bucket is away");
    await rig.start();
    expect((await rig.ask("/api/v2/search/tag/name/values")).status).toBe(503);
    expect((await rig.ask("/api/v2/search/tag/status/values")).status).toBe(200);
  });

  it.each([
    "/api/v2/search/tag/values",
    "/api/v2/search/tag//values",
    "/api/v2/search/tag/name",
    "/api/search/tag/name/value",
  ])("are not at %s", async (path) => {
    await using rig = await filledRig();
    expect((await rig.ask(path)).status).toBe(404);
  });

  it("are compressed if the client takes it, and the same by any method", async () => {
    await using rig = await filledRig();
    const headers = { accept: "application/json, text/plain, */*", "accept-encoding": "gzip, br" };
    const small = await rig.ask("/api/v2/search/tag/name/values", { headers, method: "POST" });
    expect(small.headers["content-type"]).toBe("application/json");
    expect(JSON.parse(small.text)).toMatchObject({ tagValues: [{}, {}] });
  });
});
