import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { askFilled, breakBlock, filled, place, Rig, root } from "./http.testing.ts";
import { headShard } from "#pkg/query/testing/spans.ts";

describe("trace by id", () => {
  it("bounds its memory: beyond it, version 2 is partial and version 1 refuses", async () => {
    await using rig = new Rig({ queryMemoryBytesMax: 400_000 });
    const spans = Array.from({ length: 5000 }, (_, i) => ({
      ...root,
      spanId: (i + 1).toString(16).padStart(16, "0"),
      attributes: { text: "x".repeat(40) + String(i) },
    }));
    rig.spans.heads = [headShard(spans, { ...place, appId: "log/1/0", toOffset: 5 })];
    await rig.start();
    const json = JSON.parse((await rig.ask("/api/v2/traces/abcd")).text) as {
      status: string;
      message: string;
      trace: { resourceSpans: { scopeSpans: { spans: unknown[] }[] }[] };
    };
    expect(json.status).toBe("PARTIAL");
    expect(json.message).toBe(
      "the trace has more than 200000 bytes: some of its spans are missing",
    );
    const count = json.trace.resourceSpans.flatMap((one) =>
      one.scopeSpans.flatMap((scope) => scope.spans),
    ).length;
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThan(5000);
    const accept = "application/protobuf";
    const protobuf = await rig.ask("/api/v2/traces/abcd", { headers: { accept } });
    expect(protobuf.status).toBe(200);
    expect(protobuf.body.length).toBeLessThan(600_000);
    for (const wanted of ["application/json", accept]) {
      const headers = { accept: wanted };
      const { status, text } = await rig.ask("/api/traces/abcd", { headers });
      expect([status, text]).toEqual([
        422,
        expect.stringMatching(/^not everything|^the trace has/),
      ]);
    }
  });

  it("answers in both versions and both encodings", async () => {
    await using rig = await filled();
    const accept = "application/protobuf";
    for (const version of ["/api", "/api/v2"]) {
      const json = await rig.ask(`${version}/traces/abcd`);
      expect([json.status, json.headers["content-type"]]).toEqual([200, "application/json"]);
      const top = JSON.parse(json.text) as Record<string, unknown>;
      expect(Object.keys(top)).toEqual(version === "/api" ? ["batches"] : ["trace", "metrics"]);
      const protobuf = await rig.ask(`${version}/traces/abcd`, { headers: { accept } });
      expect([protobuf.status, protobuf.headers["content-type"]]).toEqual([200, accept]);
      expect(protobuf.body.includes("GET /") && protobuf.body.includes("db")).toBe(true);
    }
  });

  it.each(["abcd", "ABCD", "0abcd", "0000000000000000000000000000abcd"])(
    "takes the id %s",
    async (id) => {
      expect((await askFilled(`/api/v2/traces/${id}?start=&end=`)).status).toBe(200);
    },
  );

  it.each([
    ["/xyz", 400, "trace IDs can only contain hex characters: invalid character 'x' at position 1"],
    [
      "/12%20",
      400,
      "trace IDs can only contain hex characters: invalid character ' ' at position 3",
    ],
    [
      "/%00",
      400,
      "trace IDs can only contain hex characters: invalid character '\0' at position 1",
    ],
    ["/%ff", 400, "trace IDs can only contain hex characters: invalid character '%' at position 1"],
    [`/${"a".repeat(33)}`, 400, "trace IDs can't be larger than 128 bits"],
    ["/ab?start=5", 404, "trace 000000000000000000000000000000ab not found"],
    ["/ab?end=5", 404, "trace 000000000000000000000000000000ab not found"],
    ["/ab?start=0&end=0", 404, "trace 000000000000000000000000000000ab not found"],
    ["/ab?start=5&end=5", 400, "http parameter start must be before end. received start=5 end=5"],
    [
      "/ab?start=-1&end=5",
      400,
      'invalid start: must be unix seconds from 0 to 4294967295, not "-1"',
    ],
    ["/ab?mode=x", 400, "invalid value for mode x"],
    ["/ab?q={.a=1}", 400, "q is not supported yet for a trace by its id"],
    [
      "/ab?span_pruning=true&span_pruning_group_by=a",
      404,
      `trace ${"ab".padStart(32, "0")} not found`,
    ],
  ])("answers %s with %i", async (path, status, text) => {
    await using rig = await filled();
    for (const version of ["/api/traces", "/api/v2/traces"]) {
      const answer = await rig.ask(version + path);
      expect([answer.status, answer.text]).toEqual([status, text]);
      expect(answer.headers["content-type"]).toBe("text/plain; charset=utf-8");
    }
  });

  it("marks a partial trace where it can, and refuses where it can not", async () => {
    await using rig = await filled();
    const { path } = breakBlock(rig);
    const reason = `block ${path}: checksum`;
    for (const id of ["abcd", "1234"]) {
      const v2 = await rig.ask(`/api/v2/traces/${id}`);
      expect(v2.status).toBe(200);
      expect(JSON.parse(v2.text)).toMatchObject({
        status: "PARTIAL",
        message: `${reason}ä does not match`,
      });
      expect(v2.headers["x-spoor-partial"]).toBe(`${reason}? does not match`);
      const v1 = await rig.ask(`/api/traces/${id}`);
      expect(v1.status).toBe(503);
      expect(v1.text).toContain(reason);
    }
    const metrics = await rig.registry.metrics();
    expect(metrics).toContain(
      'spoor_frontend_partial_answers_total{route="traces_v2",reason="Corrupt"} 2',
    );
  });

  it("turns partial responses into errors if configured", async () => {
    await using rig = await filled({ partialResults: "error" });
    breakBlock(rig);
    expect((await rig.ask("/api/v2/traces/abcd")).status).toBe(503);
    expect((await rig.ask("/api/search")).status).toBe(503);
  });

  it("encodes a large trace on another thread, compressed if wanted", async () => {
    await using rig = new Rig();
    const many = Array.from({ length: 3000 }, (_, i) => ({
      ...root,
      spanId: (i + 1).toString(16).padStart(16, "0"),
      name: `span ${i} `.repeat(10),
    }));
    rig.spans.heads = [headShard(many, { ...place, appId: "a", toOffset: 1 })];
    await rig.start();
    const plain = await rig.ask("/api/v2/traces/abcd");
    expect(plain.body.length).toBeGreaterThan(600_000);
    expect(plain.headers["content-encoding"]).toBeUndefined();
    const headers = { "accept-encoding": "br;q=1.0, gzip;q=0.5" };
    const packed = await rig.ask("/api/v2/traces/abcd", { headers });
    expect(packed.headers["content-encoding"]).toBe("gzip");
    expect(gunzipSync(packed.body).equals(plain.body)).toBe(true);
    const refused = { "accept-encoding": "gzip;q=0" };
    const again = await rig.ask("/api/v2/traces/abcd", { headers: refused });
    expect(again.headers["content-encoding"]).toBeUndefined();
  });
});
