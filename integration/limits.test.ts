/** Each tenant limit on the real server: code, reason, counter; other tenants are not affected. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openGrpcSender } from "#cmd/spoor/send/grpc-sender.ts";
import { openHttpSender } from "#cmd/spoor/send/http-sender.ts";
import type { SendResult } from "#cmd/spoor/send/sender.ts";
import {
  adminToken,
  asAdmin,
  type SpoorProcess,
  startSpoorProcess,
} from "#integration/parts/spoor.ts";
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";

type Protocol = "http" | "grpc";
const protocols: readonly Protocol[] = ["http", "grpc"];

const overrides = `
tenants:
  slow: {ingest_bytes_per_second: 1KiB, ingest_burst_bytes: 8KiB}
  few: {spans_per_request_max: 10}
  short: {attribute_key_bytes_max: 20, attribute_value_bytes_max: 30, attributes_per_span_max: 3}
  flat: {trace_spans_max: 5}
  near: {query_range: 1h}
  poor: {query_bytes_max: 1}
`;

let dir: string;
let spoor: SpoorProcess;
let overridesPath: string;
let made = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-limits-"));
  overridesPath = join(dir, "overrides.yaml");
  await writeFile(overridesPath, overrides);
  const config = `
span_log: {free_bytes_min: 1MiB, partition_count: 2}
querier: {threads: 1}
server: {multitenancy: true, admin_token: ${adminToken}}
ingester: {cut_age: 500ms}
limits: {overrides_file: ${overridesPath}, overrides_poll: 1h}
`;
  spoor = await startSpoorProcess({ dataDir: join(dir, "data"), config });
  await spoor.ready();
});

afterAll(async () => {
  expect(await spoor.stop()).toBe(0);
  await rm(dir, { recursive: true, force: true });
});

async function send(protocol: Protocol, tenant: string, body: Uint8Array): Promise<SendResult> {
  const endpoint = new URL(protocol === "http" ? spoor.otlpHttp : spoor.otlpGrpc);
  const open = protocol === "http" ? openHttpSender : openGrpcSender;
  const sender = open({ endpoint, tenant, inFlightMax: 1 });
  try {
    return await sender.send(body);
  } finally {
    sender.close();
  }
}

/** Returns a trace of `count` spans. */
function trace(count: number, attributes: Record<string, string> = {}): SentTrace {
  const traceId = (++made).toString(16).padStart(32, "a");
  const startNano = BigInt(Date.now()) * 1_000_000n;
  const specs = Array.from({ length: count }, (_, i): SpanSpec => {
    const spanId = (i + 1).toString(16).padStart(16, "0");
    return { traceId, spanId, service: "shop", startNano, endNano: startNano + 5n, attributes };
  });
  return { traceId, body: encodeTraceData(traceDataOf(specs)) };
}

interface SentTrace {
  traceId: string;
  body: Uint8Array;
}

async function metric(name: string, labels: string): Promise<number> {
  const text = await (await fetch(`${spoor.address}/metrics`, { headers: asAdmin })).text();
  const line = text.split("\n").find((one) => one.startsWith(`${name}{${labels}} `));
  return line === undefined ? 0 : Number(line.split(" ").at(-1));
}

async function page(name: string): Promise<string> {
  return await (await fetch(`${spoor.address}/status/${name}`, { headers: asAdmin })).text();
}

async function ask(tenant: string, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${spoor.address}${path}`, { headers: { "X-Scope-OrgID": tenant } });
  return { status: response.status, text: await response.text() };
}

const refusedTotal = "spoor_distributor_refused_requests_total";

describe.each(protocols)("over %s", (protocol) => {
  test("ingest rate: refused with reason and retry delay; another tenant is not", async () => {
    const before = await metric(refusedTotal, 'reason="ingest_rate"');
    const large = (): SentTrace => trace(60);
    let answer = await send(protocol, "slow", large().body);
    let last = large();
    while (answer.kind === "stored") {
      last = large();
      answer = await send(protocol, "slow", last.body);
    }
    expect(answer).toMatchObject({ reason: "ingest_rate", isRetryable: true });
    expect(answer.retryAfterMs).toBeGreaterThan(0);
    expect(await metric(refusedTotal, 'reason="ingest_rate"')).toBe(before + 1);
    expect(await send(protocol, "free", large().body)).toMatchObject({ kind: "stored" });
    const refused = await page("refused");
    for (const text of ["slow", "ingest_rate", `otlp_${protocol}`]) expect(refused).toContain(text);
  });

  test("spans per request: refused for good, with the reason", async () => {
    const before = await metric(refusedTotal, 'reason="spans_per_request"');
    const { body, traceId } = trace(11);
    const answer = await send(protocol, "few", body);
    expect(answer).toMatchObject({ reason: "spans_per_request", isRetryable: false });
    expect(await metric(refusedTotal, 'reason="spans_per_request"')).toBe(before + 1);
    expect(await send(protocol, "few", trace(10).body)).toMatchObject({ kind: "stored" });
    expect(await send(protocol, "free", trace(11).body)).toMatchObject({ kind: "stored" });
    if (protocol === "http") expect(await page("refused")).toContain(traceId);
  });

  test("attributes: cut with a mark, left out with a count, and counted", async () => {
    const name = "spoor_ingester_cut_attributes_total";
    const count = (reason: string): Promise<number> =>
      metric(name, `tenant="short",reason="${reason}"`);
    const reasons = ["attribute_key_bytes", "attribute_value_bytes", "attributes_per_span"];
    const before = await Promise.all(reasons.map(count));
    const long = "v".repeat(100);
    const attributes = { [`key.${"k".repeat(40)}`]: "1", value: long, third: "3", fourth: "4" };
    const sent = trace(1, attributes);
    for (const tenant of ["short", "free"]) {
      expect(await send(protocol, tenant, sent.body)).toMatchObject({ kind: "stored" });
      await expect
        .poll(async () => (await ask(tenant, `/api/v2/traces/${sent.traceId}`)).status)
        .toBe(200);
    }
    const { text } = await ask("short", `/api/v2/traces/${sent.traceId}`);
    expect(text).toContain(`"key.${"k".repeat(16)}"`);
    expect(text).toContain(`"${"v".repeat(30)}"`);
    expect(text).toContain("spoor.truncated");
    expect(text).toContain('"droppedAttributesCount":1');
    const after = await Promise.all(reasons.map(count));
    expect(after).toEqual(before.map((value) => value + 1));
    const whole = (await ask("free", `/api/v2/traces/${sent.traceId}`)).text;
    for (const [key, value] of Object.entries(attributes)) {
      expect(whole).toContain(`"${key}"`);
      expect(whole).toContain(`"${value}"`);
    }
    expect(whole).not.toContain("spoor.truncated");
    expect(await page("refused")).toContain("attributes_cut");
  });

  test("large traces: kept whole, counted and reported", async () => {
    const count = (): Promise<number> =>
      metric("spoor_ingester_large_traces_total", 'tenant="flat"');
    const before = await count();
    const sent = trace(6);
    expect(await send(protocol, "flat", sent.body)).toMatchObject({ kind: "stored" });
    expect(await send(protocol, "flat", trace(5).body)).toMatchObject({ kind: "stored" });
    await expect.poll(count).toBe(before + 1);
    const refused = await page("refused");
    expect(refused).toContain("large_trace");
    // There is at most one example per second.
    if (protocol === "http") expect(refused).toContain(sent.traceId);
    const { text } = await ask("flat", `/api/v2/traces/${sent.traceId}`);
    expect(text.match(/"spanId"/g)).toHaveLength(6);
  });
});

test("HTTP says 429 with Retry-After and a Status, as OTLP wants it", async () => {
  const post = (): Promise<Response> =>
    fetch(`${spoor.otlpHttp}/v1/traces`, {
      method: "POST",
      headers: { "content-type": "application/x-protobuf", "x-scope-orgid": "slow" },
      body: trace(60).body as Uint8Array<ArrayBuffer>,
    });
  let response = await post();
  while (response.status === 200) response = await post();
  expect(response.status).toBe(429);
  expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
  const body = Buffer.from(await response.arrayBuffer()).toString("latin1");
  expect(body).toContain("google.rpc.RetryInfo");
  expect(body).toContain("ingest_rate");
});

describe("queries", () => {
  const limited = "spoor_frontend_limited_queries_total";
  const nowSeconds = (): number => Math.floor(Date.now() / 1000);
  const range = (seconds: number): string =>
    `/api/search?q=%7B%7D&start=${nowSeconds() - seconds}&end=${nowSeconds() + 60}`;

  test("over a longer range than allowed are refused", async () => {
    const before = await metric(limited, 'reason="query_range"');
    expect(await ask("near", range(3600))).toMatchObject({ status: 400 });
    expect((await ask("near", range(3600))).text).toContain("longer than 3600 s");
    expect(await ask("near", range(3000))).toMatchObject({ status: 200 });
    expect(await ask("free", range(7200))).toMatchObject({ status: 200 });
    expect(await metric(limited, 'reason="query_range"')).toBe(before + 2);
    expect(await page("refused")).toContain("query_range");
  });

  test("that read more bytes than allowed are refused", async () => {
    for (const tenant of ["poor", "rich"]) await send("http", tenant, trace(3).body);
    const status = async (tenant: string): Promise<number> => (await ask(tenant, range(60))).status;
    await expect.poll(() => status("poor")).toBe(400);
    expect((await ask("poor", range(60))).text).toContain("reads more than 1 bytes");
    expect(await status("rich")).toBe(200);
    expect(await metric(limited, 'reason="query_bytes"')).toBeGreaterThanOrEqual(2);
    const q = encodeURIComponent("{ status != error }");
    const when = `start=${nowSeconds() - 60}&end=${nowSeconds() + 60}`;
    const values = `/api/v2/search/tag/resource.service.name/values?q=${q}&${when}`;
    expect(await ask("rich", values)).toMatchObject({ status: 200 });
    expect(await ask("poor", values)).toMatchObject({ status: 400 });
  });
});

test("overrides are reloaded at SIGHUP; an invalid file changes nothing and is reported", async () => {
  expect(await page("limits")).toContain("slow");
  await writeFile(overridesPath, overrides.replace("few:", "nobody:"));
  spoor.signal("SIGHUP");
  const isStored = async (): Promise<boolean> =>
    (await send("http", "few", trace(11).body)).kind === "stored";
  await expect.poll(isStored).toBe(true);
  const good = async (): Promise<string> =>
    (await (await fetch(`${spoor.address}/metrics`, { headers: asAdmin })).text()).match(
      /^spoor_limits_overrides_good (\d)$/m,
    )![1];
  expect(await good()).toBe("1");
  await writeFile(overridesPath, "tenants:\n  few: {spans_per_request: 3}\n");
  spoor.signal("SIGHUP");
  await expect.poll(good).toBe("0");
  expect(await page("limits")).toContain("spans_per_request");
  await expect.poll(() => spoor.log()).toContain("the last valid limits stay in force");
  expect(await send("http", "nobody", trace(11).body)).toMatchObject({ kind: "refused" });
  await writeFile(overridesPath, overrides);
  spoor.signal("SIGHUP");
  await expect.poll(good).toBe("1");
  expect(await isStored()).toBe(false);
});
