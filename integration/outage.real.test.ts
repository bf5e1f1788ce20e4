/** The bucket fails while Spoor runs, and recovers; the disk of the log fills up. */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { makeS3Bucket } from "#integration/parts/buckets.ts";
import { type HttpProxy, startHttpProxy, type Verdict } from "#integration/parts/http-proxy.ts";
import { type Minio, startMinio } from "#integration/parts/minio.ts";
import {
  eventually,
  find,
  makeTrace,
  metric,
  post,
  requestOf,
  send,
  spanIdsOf,
} from "#integration/parts/spans.ts";
import { s3StorageYaml } from "#integration/parts/spoor-on-bucket.ts";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import { readBucket } from "#integration/parts/stored.ts";
import { openS3Store } from "#pkg/objstore/s3/s3.ts";
import type { S3Options } from "#pkg/objstore/s3/s3-options.ts";

/** Short timeouts, so that an outage of seconds is a long one, and no cache that would hide it. */
const impatient = `  requests: {timeout: 2s, attempts_max: 2, backoff_max: 500ms}
  cache: {memory_bytes: 0, disk_bytes: 0}
`;
const quickCuts = "ingester: {cut_spans: 100, cut_age: 300ms}\n";
const roomy = "span_log: {free_bytes_min: 1MiB}\n";

let dir = "";
let minio: Minio;
let proxy: HttpProxy;
let made = 0;
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-outage-"));
  await mkdir(join(dir, "minio"));
  minio = await startMinio({ dir: join(dir, "minio") });
  proxy = await startHttpProxy(minio.address);
});

afterEach(async () => {
  proxy.plan = () => "pass";
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

afterAll(async () => {
  await proxy.stop();
  await minio.stop();
  await rm(dir, { recursive: true, force: true });
});

async function start(config: string): Promise<{ spoor: SpoorProcess; options: S3Options }> {
  const options = await makeS3Bucket(minio, `outage-${++made}`);
  const dataDir = join(dir, `run-${made}`, "data");
  await mkdir(dataDir, { recursive: true });
  const storage = s3StorageYaml(options, { endpoint: proxy.address }) + impatient;
  const spoor = await startSpoorProcess({ dataDir, config: config + storage });
  cleanups.push(() => spoor.kill());
  await spoor.ready();
  return { spoor, options };
}

const bucketErrors: [string, Verdict][] = [
  ["is unreachable", "refuse"],
  ["loses every answer", "lose"],
  ["answers SlowDown", { status: 503, body: "<Error><Code>SlowDown</Code></Error>" }],
  ["answers 500", { status: 500, body: "<Error><Code>InternalError</Code></Error>" }],
];

it.each(bucketErrors)("a bucket that %s costs no span, and mends itself", async (_, verdict) => {
  const { spoor, options } = await start(roomy + quickCuts);
  const before = makeTrace(4);
  await send(spoor.otlpHttp, before);
  await eventually(
    async () => ((await metric(spoor.address, "spoor_ingester_blocks_total")) ?? 0) > 0,
  );
  proxy.plan = () => verdict;
  // Spans are accepted and found during the outage.
  const during = Array.from({ length: 60 }, () => makeTrace(5));
  for (const trace of during) await send(spoor.otlpHttp, trace);
  await eventually(async () => {
    return ((await metric(spoor.address, "spoor_ingester_store_failures_total")) ?? 0) > 0;
  });
  for (const trace of during.slice(0, 3)) {
    const found = await find(spoor.address, trace[0].traceId);
    // Stored spans cannot be read now: the response says so, or the request fails.
    if (found.status === 200) {
      expect(found.spanIds).toEqual(spanIdsOf(trace));
    } else expect([503, 504]).toContain(found.status);
  }
  const stored = await find(spoor.address, before[0].traceId);
  expect(stored.status).not.toBe(404);
  if (stored.status === 200) expect(stored.partial).toBeDefined();
  proxy.plan = () => "pass";
  await eventually(async () => {
    const found = await find(spoor.address, before[0].traceId);
    return found.status === 200 && found.partial === undefined;
  });
  for (const trace of [before, ...during]) {
    const found = await find(spoor.address, trace[0].traceId);
    expect(found).toMatchObject({ spanIds: spanIdsOf(trace), partial: undefined });
  }
  expect(await spoor.stop()).toBe(0);
  const { counts } = await readBucket(openS3Store(options));
  const sent = [before, ...during].flatMap((trace) =>
    trace.map(({ traceId, spanId }) => `${traceId}/${spanId}`),
  );
  expect([...counts.keys()].sort()).toEqual(sent.sort());
  expect([...counts.values()].every((count) => count === 1)).toBe(true);
});

it("a log that is full pushes back, and takes again when blocks are stored", async () => {
  const small = "span_log: {free_bytes_min: 1MiB, bytes_max: 1MiB, segment_bytes_max: 64KiB}\n";
  const { spoor, options } = await start(small + quickCuts);
  proxy.plan = () => "refuse";
  const filler = "x".repeat(2000);
  const sent: string[] = [];
  let refused = 0;
  for (let i = 0; i < 400; i++) {
    const trace = makeTrace(3, { attributes: { filler } });
    const { status, headers } = await post(spoor.otlpHttp, requestOf(trace));
    if (status === 200) sent.push(...trace.map(({ traceId, spanId }) => `${traceId}/${spanId}`));
    else {
      expect([429, 503]).toContain(status);
      expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(50);
  expect(sent.length).toBeGreaterThan(30);
  proxy.plan = () => "pass";
  await eventually(async () => {
    const trace = makeTrace(1);
    const { status } = await post(spoor.otlpHttp, requestOf(trace));
    if (status === 200) sent.push(`${trace[0].traceId}/${trace[0].spanId}`);
    return status === 200;
  });
  expect(await spoor.stop()).toBe(0);
  const { counts } = await readBucket(openS3Store(options));
  expect(sent.filter((id) => counts.get(id) !== 1)).toEqual([]);
});

it("a disk that is full pushes back, loses nothing, and takes again when blocks are stored", async () => {
  const options = await makeS3Bucket(minio, `outage-${++made}`);
  const dataDir = join(dir, `run-${made}`, "data");
  await mkdir(dataDir, { recursive: true });
  const storage = s3StorageYaml(options, { endpoint: proxy.address }) + impatient;
  // The reserved space allows the log to be trimmed when the disk is full.
  const tight = "span_log: {free_bytes_min: 1MiB, segment_bytes_max: 64KiB}\n";
  const config = tight + quickCuts + storage;
  const spoor = await startSpoorProcess({ dataDir, config, diskBytes: 4 * 1024 * 1024 });
  cleanups.push(() => spoor.kill());
  await spoor.ready();
  proxy.plan = () => "refuse";
  const sent: string[] = [];
  let refused = 0;
  for (let i = 0; i < 600 && refused < 50; i++) {
    const trace = makeTrace(3, { attributes: { filler: randomBytes(3000).toString("hex") } });
    const { status } = await post(spoor.otlpHttp, requestOf(trace));
    if (status === 200) sent.push(...trace.map(({ traceId, spanId }) => `${traceId}/${spanId}`));
    else refused++;
  }
  expect(refused).toBe(50);
  expect(sent.length).toBeGreaterThan(30);
  proxy.plan = () => "pass";
  await eventually(async () => {
    const trace = makeTrace(1);
    const { status } = await post(spoor.otlpHttp, requestOf(trace));
    if (status === 200) sent.push(`${trace[0].traceId}/${trace[0].spanId}`);
    return status === 200;
  });
  expect(await spoor.stop(), spoor.log()).toBe(0);
  const { counts } = await readBucket(openS3Store(options));
  expect(sent.filter((id) => counts.get(id) !== 1)).toEqual([]);
});

it("a bucket that hangs: live spans are answered in time as partial, the page too", async () => {
  const soon = "frontend: {store_stall: 1s}\n";
  const { spoor } = await start(roomy + quickCuts + soon);
  // A block that every query must read.
  await send(spoor.otlpHttp, makeTrace(4));
  await eventually(
    async () => ((await metric(spoor.address, "spoor_ingester_blocks_total")) ?? 0) > 0,
  );
  const trace = makeTrace(3);
  const hung = Promise.withResolvers<Verdict>();
  proxy.plan = () => hung.promise;
  await send(spoor.otlpHttp, trace);
  await eventually(async () => (await find(spoor.address, trace[0].traceId)).spanIds.length > 0);
  const found = await find(spoor.address, trace[0].traceId);
  expect(found).toMatchObject({ status: 200, spanIds: spanIdsOf(trace) });
  expect(found.partial).toBeDefined();
  const search = await fetch(`${spoor.address}/api/search?q=%7B%7D`);
  expect([search.status, await search.text()]).toEqual([
    200,
    expect.stringContaining(trace[0].traceId),
  ]);
  expect(search.headers.get("x-spoor-partial")).not.toBeNull();
  expect((await fetch(`${spoor.address}/api/v2/search/tags`)).status).toBe(200);
  const page = await fetch(`${spoor.address}/?format=json`);
  expect([page.status, await page.json()]).toEqual([
    200,
    expect.objectContaining({
      problems: expect.arrayContaining([expect.stringMatching(/^The bucket does not answer/)]),
    }),
  ]);
  hung.resolve("refuse");
  proxy.plan = () => "pass";
  expect(await spoor.stop()).toBe(0);
});
