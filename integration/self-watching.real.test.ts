/** Diagnostics of a running server: its own spans, profiles, slow queries, log times. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runServe, type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import { startReceiver, type TestReceiver } from "#modules/receivers/receiver.testing.ts";
import { traceDataOf } from "#pkg/engine/testing/spans.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";

let dir: string;
let collector: TestReceiver;
let spoor: SpoorProcess;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-watch-"));
  collector = await startReceiver();
  const config = `
span_log: {free_bytes_min: 1MiB, partition_count: 2}
querier: {threads: 1}
server: {admin_token: open-sesame, tracing_endpoint: "http://127.0.0.1:${collector.httpPort}"}
frontend: {slow_query: 1ms}
ingester: {cut_age: 300ms}
`;
  spoor = await startSpoorProcess({ dataDir: join(dir, "data"), config });
  await spoor.ready();
});

afterAll(async () => {
  await spoor.kill();
  await collector[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

async function sendOne(address: string): Promise<void> {
  const startNano = BigInt(Date.now()) * 1_000_000n;
  const spec = { traceId: "a".repeat(32), spanId: "b".repeat(16), service: "shop" };
  const body = encodeTraceData(traceDataOf([{ ...spec, startNano, endNano: startNano + 1n }]));
  const response = await fetch(`${address}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/x-protobuf" },
    body: body as Uint8Array<ArrayBuffer>,
  });
  expect(response.status).toBe(200);
}

test("own spans go to the endpoint: queries, and heads with their cut and commit as children", async () => {
  await sendOne(spoor.otlpHttp);
  await fetch(`${spoor.address}/api/search?q=%7B%7D`);
  const names = (): string[] => collector.sink.spans().map(({ name }) => name);
  await expect.poll(names).toContain("store head");
  await expect.poll(names).toContain("/api/search");
  const spans = collector.sink.spans();
  const head = spans.find(({ name }) => name === "store head")!;
  for (const name of ["cut", "commit"]) {
    const child = spans.find((span) => span.name === name)!;
    expect(Buffer.from(child.parentSpanId)).toEqual(Buffer.from(head.spanId));
    expect(Buffer.from(child.traceId)).toEqual(Buffer.from(head.traceId));
  }
});

test("nothing is sent without an endpoint, and a process does not trace itself unasked", async () => {
  // Not an ephemeral port of the system: another process might take it.
  const config = `server: {tracing_endpoint: "http://localhost:24318"}\nreceivers: {http_port: 24318}`;
  const args = ["--otlp-http-port", "24318"];
  const refused = await runServe({ dataDir: join(dir, "self"), config, args });
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain("server.tracing_to_self");
});

test("slow queries are logged with what they asked for, and counted", async () => {
  // A query may take less than a millisecond, and its log line may arrive after its response.
  const askAndRead = async (): Promise<string> => {
    await fetch(`${spoor.address}/api/search?q=%7Bname%3D%22slow%22%7D`);
    return spoor.log();
  };
  await expect.poll(askAndRead).toContain("q=%7Bname%3D%22slow%22%7D");
  expect(spoor.log()).toContain("slow query");
  const metrics = await (await fetch(`${spoor.address}/metrics`)).text();
  expect(metrics).toMatch(/spoor_frontend_slow_queries_total\{route="\/api\/search"\} [1-9]/);
  expect(metrics).toMatch(/spoor_log_write_seconds_count [1-9]/);
  expect(metrics).toMatch(/spoor_nodejs_eventloop_lag_p99_seconds [0-9.]+/);
  expect(metrics).toMatch(/spoor_store_requests_total\{kind="putIfAbsent"\} [1-9]/);
});

test("profiles need the admin token, and there is one at a time", async () => {
  const url = `${spoor.address}/admin/profile`;
  const headers = { authorization: "Bearer open-sesame" };
  expect((await fetch(`${url}/cpu?seconds=1`)).status).toBe(401);
  const wrong = { authorization: "Bearer open-sesam" };
  expect((await fetch(`${url}/heap?seconds=1`, { headers: wrong })).status).toBe(401);
  expect((await fetch(`${url}/cpu?seconds=0`, { headers })).status).toBe(400);
  const get = async (path: string): Promise<Response> => await fetch(`${url}/${path}`, { headers });
  // The first request runs. On a busy machine the second may arrive after it has ended.
  const pair = async (): Promise<number[]> => {
    const [cpu, heap] = await Promise.all([get("cpu?seconds=1"), get("heap?seconds=1")]);
    return [cpu.status, heap.status].sort((a, b) => a - b);
  };
  await expect.poll(pair).toEqual([200, 429]);
  const cpu = (await (await get("cpu?seconds=0.2")).json()) as { nodes: unknown[] };
  expect(cpu.nodes.length).toBeGreaterThan(5);
  const heap = (await (await get("heap?seconds=0.1")).json()) as object;
  expect(heap).toHaveProperty("head.callFrame");
  const config = await (await fetch(`${spoor.address}/status/config`)).text();
  expect(config).toContain("admin_token");
  expect(config).not.toContain("sesame");
});

test("pages for operators say what runs", async () => {
  const page = async (name: string): Promise<string> =>
    await (await fetch(`${spoor.address}/status${name}`)).text();
  expect(await page("/modules")).toContain("ingester");
  expect(await page("/limits")).toContain("ingest_bytes_per_second");
  expect(await page("/version")).toContain("spoorVersion");
  expect(await page("")).toContain("Partitions");
});
