import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import { formatField } from "#pkg/traceql/format.ts";
import { child, place, Rig, root } from "./http.testing.ts";
import { parseLogfmt } from "./logfmt.ts";
import { tagsFilter } from "./tag-search.ts";
import { headShard } from "#pkg/query/testing/spans.ts";

describe("logfmt", () => {
  it.each([
    ["", {}],
    ["  \t\n", {}],
    ["a=b", { a: "b" }],
    [" a=b  c=d ", { a: "b", c: "d" }],
    ["a", { a: "" }],
    ["a= b=", { a: "", b: "" }],
    ['service.name="two words" x=1', { "service.name": "two words", x: "1" }],
    [String.raw`a="q\"\\\n\u00e9"`, { a: 'q"\\\né' }],
    ['a=""', { a: "" }],
    ['a="line\nbreak"', { a: "line\nbreak" }],
    ["größe=ü", { größe: "ü" }],
    ["a-b.c/d:e=f,g", { "a-b.c/d:e": "f,g" }],
  ])("of %j is %j", (text, expected) => {
    expect(Object.fromEntries(parseLogfmt(text))).toEqual(expected);
  });

  it.each([
    ["=b", "unexpected '=' at pos 1"],
    ["a=b =c", "unexpected '=' at pos 5"],
    ["a==b", "unexpected '=' at pos 3"],
    ["a=b=c", "unexpected '=' at pos 4"],
    ['a"b', "unexpected '\"' at pos 2"],
    ['a=b"c"', "unexpected '\"' at pos 4"],
    ['a="b"c', "unexpected 'c' at pos 6"],
    ['"a"=b', "unexpected '\"' at pos 1"],
    ['a="b', "unterminated quoted value at pos 5"],
    [String.raw`a="\x"`, "invalid quoted value at pos 3"],
    ["a=b a=c", "tag a has been set twice"],
  ])("of %j says %s", (text, message) => {
    expect(() => parseLogfmt(text)).toThrow(`invalid tags: ${message}`);
  });

  it("of any text is pairs or an error that says where", () => {
    const parts = fc.array(fc.constantFrom("a", "b", "=", '"', " ", "\\", "\n", "é"), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(parts, (some) => {
        try {
          for (const [key] of parseLogfmt(some.join(""))) expect(key).not.toBe("");
        } catch (error) {
          expect(hasCode(error, "InvalidInput"), String(error)).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a condition of tags", () => {
  const textOf = (tags: Record<string, string>): string =>
    formatField(tagsFilter(new Map(Object.entries(tags)))!);

  it("is one of TraceQL", () => {
    expect(textOf({ "http.path": "/a.b", code: "200" })).toBe(
      String.raw`.http.path =~ "(?s).*/a\\.b.*" && (.code =~ "(?s).*200.*" || .code = 200)`,
    );
    expect(textOf({ ok: "true" })).toBe('.ok =~ "(?s).*true.*" || .ok = true');
    expect(textOf({ r: "-1.5" })).toBe(String.raw`.r =~ "(?s).*-1\\.5.*" || .r = -1.5`);
    expect(textOf({ any: "" })).toBe(".any != nil");
    expect(textOf({ name: "GET", "status.code": "ok" })).toBe(
      'name =~ "(?s).*GET.*" && status = ok',
    );
    expect(textOf({ error: "true" })).toBe("status = error");
    expect(textOf({ error: "timeout" })).toBe('.error =~ "(?s).*timeout.*"');
    expect(textOf({ "status.code": "fine" })).toBe("false");
    expect(textOf({ "root.service.name": "shop", "root.name": "a" })).toBe(
      'rootServiceName =~ "(?s).*shop.*" && rootName =~ "(?s).*a.*"',
    );
    expect(tagsFilter(new Map())).toBeUndefined();
  });

  it("has the bounds of the language", () => {
    const many = new Map(Array.from({ length: 2000 }, (_, i) => [`k${i}`, "v"]));
    expect(() => tagsFilter(many)).toThrow(/^invalid tags: too many or too long/);
    expect(() => tagsFilter(new Map([["k", "v".repeat(100_000)]]))).toThrow(/^invalid tags: too/);
  });
});

async function filled(): Promise<Rig> {
  const rig = new Rig();
  const attributes = {
    path: "/cart\n(all)",
    code: 200n,
    ratio: 1.5,
    cached: true,
    text: "200",
    empty: "",
  };
  await rig.spans.addBlock("a", [{ ...root, attributes }], place);
  const other = { ...child, attributes: { path: "/pay", code: 2001n } };
  rig.spans.heads = [headShard([other], { ...place, appId: "log/1/0", toOffset: 5 })];
  rig.spans.transactions.set("log/1/0", 3);
  return await rig.start();
}

interface Found {
  traces: Record<string, unknown>[];
}

describe("a search by tags", () => {
  it.each([
    ["path=/cart", 1],
    ["path=cart", 1],
    ["path=(all)", 1],
    ['path="/cart\n(all)"', 1],
    ["path=/c.rt", 0],
    ["path=/CART", 0],
    ["path=/cart path2=x", 0],
    ["path=/pay code=200", 0],
    ["code=200", 1],
    ["code=20", 0],
    ["code=2001 path=pay", 1],
    ["ratio=1.5", 1],
    ["ratio=1.50", 1],
    ["ratio=1", 0],
    ["cached=true", 1],
    ["cached=false", 0],
    ["text=00", 1],
    ["empty", 1],
    ["missing", 0],
    ["service.name=sho", 1],
    ["name=GET", 1],
    ["name=db path=/pay", 1],
    ["name=db path=/cart", 0],
    ["error=true", 1],
    ["error=true path=/cart", 0],
    ["status.code=unset path=/cart", 1],
    ["root.name=GET path=/pay", 1],
    ["root.service.name=shop", 1],
    ["root.service.name=none", 0],
  ])("finds by %j: %i", async (tags, count) => {
    await using rig = await filled();
    const found = await rig.json(`/api/search?tags=${encodeURIComponent(tags)}`);
    expect((found as Found).traces).toHaveLength(count);
  });

  it.each([
    ["minDuration=1s", 1],
    ["minDuration=1001ms", 0],
    ["maxDuration=1s", 1],
    ["maxDuration=999.9ms", 0],
    ["minDuration=0.5s&maxDuration=1m", 1],
    ["minDuration=0&tags=path%3D/pay", 1],
    ["minDuration=2s&tags=path%3D/pay", 0],
    ["q={}&minDuration=2s", 0],
    ["q={name=%22db%22}&maxDuration=2s", 1],
    ["service.name=shop&path=/pay", 1],
    ["service.name=shop&path=/none&limit=5", 0],
    ["service.name=none&start=1&end=4000000000", 1],
    ["service.name=none&since=1h", 1],
  ])("takes ?%s: %i", async (query, count) => {
    await using rig = await filled();
    expect((await rig.json(`/api/search?${query}`)) as Found).toMatchObject({
      traces: Array.from({ length: count }, () => ({ traceID: root.traceId })),
    });
  });

  it("shows traces without the spans that match", async () => {
    await using rig = await filled();
    const [trace] = ((await rig.json("/api/search?tags=path%3D/pay&spss=5")) as Found).traces;
    expect(trace).toEqual({
      traceID: root.traceId,
      rootServiceName: "shop",
      rootTraceName: "GET /",
      startTimeUnixNano: String(root.startNano),
      durationMs: 1000,
      serviceStats: { shop: { spanCount: 2, errorCount: 1 } },
    });
    for (const query of ["minDuration=1ms", "service.name=shop"]) {
      const found = (await rig.json(`/api/search?${query}`)) as Found;
      expect(found.traces[0]).not.toHaveProperty("spanSets");
    }
    const byLanguage = (await rig.json("/api/search?q={}&minDuration=1ms")) as Found;
    expect(byLanguage.traces[0]).toHaveProperty("spanSets");
  });
});
