/** `spoor serve` on buckets of real servers: refusals at the start, and a whole run. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { makeGcsBucket, makeS3Bucket, minioClient } from "#integration/parts/buckets.ts";
import { freePort, type Part } from "#integration/parts/daemon.ts";
import { startGcs } from "#integration/parts/gcs.ts";
import { type Minio, startMinio } from "#integration/parts/minio.ts";
import { eventually, find, makeTrace, metric, send, spanIdsOf } from "#integration/parts/spans.ts";
import { gcsStorageYaml, s3StorageYaml } from "#integration/parts/spoor-on-bucket.ts";
import { runServe, type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";

const roomy = "span_log: {free_bytes_min: 1MiB}\n";
let dir = "";
let minio: Minio;
let gcs: Part;
let made = 0;
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-buckets-"));
  const minioDir = join(dir, "minio");
  await mkdir(minioDir);
  [minio, gcs] = await Promise.all([
    startMinio({ dir: minioDir, region: "us-east-1" }),
    startGcs(),
  ]);
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

afterAll(async () => {
  await Promise.all([minio.stop(), gcs.stop()]);
  await rm(dir, { recursive: true, force: true });
});

async function makeDataDir(): Promise<string> {
  const dataDir = join(dir, `run-${++made}`, "data");
  await mkdir(dataDir, { recursive: true });
  return dataDir;
}

async function start(dataDir: string, storage: string): Promise<SpoorProcess> {
  const spoor = await startSpoorProcess({ dataDir, config: roomy + storage });
  cleanups.push(() => spoor.kill());
  await spoor.ready();
  return spoor;
}

async function refusal(storage: string): Promise<string> {
  const run = await runServe({ dataDir: await makeDataDir(), config: roomy + storage });
  expect(run.code, run.stderr).toBe(1);
  const lines = run.stderr.trim().split("\n");
  expect(lines, run.stderr).toHaveLength(1);
  return lines[0];
}

it("refuses what cannot work, each with one sentence and exit code 1", async () => {
  const options = await makeS3Bucket(minio, "refusals");
  const say = async (over: Parameters<typeof s3StorageYaml>[1]): Promise<string> =>
    await refusal(s3StorageYaml(options, over));
  expect(await say({ secretAccessKey: "wrong-secret" })).toContain("credentials are not valid");
  expect(await say({ accessKeyId: "nobody" })).toContain("credentials are not valid");
  expect(await say({ bucket: "missing" })).toContain("the bucket does not exist");
  expect(await say({ region: "eu-north-1" })).toContain("the bucket is in another region");
  const closed = `http://127.0.0.1:${await freePort()}`;
  expect(await say({ endpoint: closed })).toContain("ECONNREFUSED");
  const gcsOptions = await makeGcsBucket(gcs, "refusals");
  const missing = gcsStorageYaml({ ...gcsOptions, bucket: "missing" });
  expect(await refusal(missing)).toContain("the bucket does not exist");
});

it.each(["s3", "gcs"] as const)("keeps spans in a bucket (%s) over restarts", async (kind) => {
  const storage =
    kind === "s3"
      ? s3StorageYaml(await makeS3Bucket(minio, "life"))
      : gcsStorageYaml(await makeGcsBucket(gcs, "life"));
  const dataDir = await makeDataDir();
  const traces = Array.from({ length: 40 }, (_, i) =>
    makeTrace(5, { name: i % 2 === 0 ? "even" : "odd" }),
  );
  const first = await start(dataDir, storage);
  for (const trace of traces.slice(0, 20)) await send(first.otlpHttp, trace);
  await eventually(async () => (await find(first.address, traces[19][0].traceId)).status === 200);
  expect(await first.stop()).toBe(0);
  const second = await start(dataDir, storage);
  for (const trace of traces.slice(20)) await send(second.otlpHttp, trace);
  await eventually(async () => (await find(second.address, traces[39][0].traceId)).status === 200);
  await second.kill();
  const third = await start(dataDir, storage);
  for (const trace of traces) {
    const found = await find(third.address, trace[0].traceId);
    expect(found).toMatchObject({ spanIds: spanIdsOf(trace), partial: undefined });
  }
  const query = new URLSearchParams({ q: '{ name = "even" }', limit: "100" });
  const answer = await fetch(`${third.address}/api/search?${query.toString()}`);
  const { traces: found } = (await answer.json()) as { traces: { traceID: string }[] };
  const expected = traces.filter(([{ name }]) => name === "even").map(([{ traceId }]) => traceId);
  expect(found.map(({ traceID }) => traceID).sort()).toEqual(expected.sort());
  expect(await metric(third.address, "spoor_store_requests_total")).toBeGreaterThan(0);
  expect(await third.stop()).toBe(0);
  // An independent check: MinIO's own client sees the blocks and the commits.
  if (kind === "gcs") return;
  const names: string[] = [];
  for await (const { name } of minioClient(minio).listObjectsV2("life", "", true)) {
    names.push(name as string);
  }
  expect(names.filter((name) => name.startsWith("_spoor/probe/"))).toEqual([]);
  expect(
    names.filter((name) => /^single-tenant\/blocks\/.*\.parquet$/.test(name)).length,
  ).toBeGreaterThan(0);
  expect(names).toContain("single-tenant/_delta_log/00000000000000000000.json");
});

it("runs with deploy/minio.yaml on a MinIO that was started as the README says", async () => {
  const minioDir = join(dir, "readme");
  // A folder of the disk is a bucket: `mkdir -p minio-data/spoor`.
  await mkdir(join(minioDir, "spoor"), { recursive: true });
  const own = await startMinio({ dir: minioDir, user: "spoor", password: "spoor-secret" });
  cleanups.push(() => own.stop());
  const example = fileURLToPath(new URL("../deploy/minio.yaml", import.meta.url));
  const dataDir = await makeDataDir();
  const args = ["--config", example];
  const env = { SPOOR_S3_ENDPOINT: own.address };
  const spoor = await startSpoorProcess({ dataDir, args, env });
  cleanups.push(() => spoor.kill());
  await spoor.ready();
  const trace = makeTrace(3);
  await send(spoor.otlpHttp, trace);
  expect(await spoor.stop()).toBe(0);
  const again = await startSpoorProcess({ dataDir, args, env });
  cleanups.push(() => again.kill());
  await again.ready();
  expect((await find(again.address, trace[0].traceId)).spanIds).toEqual(spanIdsOf(trace));
});
