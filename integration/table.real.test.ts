/** delta-rs and DuckDB, independent readers, count the same rows in the bucket as Spoor. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeS3Bucket, minioClient } from "#integration/parts/buckets.ts";
import { type DeltaRsTable, readWithDeltaRs } from "#integration/parts/delta-rs.ts";
import { type Minio, minioPassword, minioUser, startMinio } from "#integration/parts/minio.ts";
import { makeTrace, send } from "#integration/parts/spans.ts";
import { s3StorageYaml } from "#integration/parts/spoor-on-bucket.ts";
import { startSpoorProcess } from "#integration/parts/spoor.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openS3Store } from "#pkg/objstore/s3/s3.ts";
import { openTable, type Snapshot, type Table } from "#pkg/table/delta-table.ts";
import { singleTenant } from "#pkg/tenant/tenant-name.ts";

const bucket = "lake";
let dir = "";
let minio: Minio;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-lake-"));
  await mkdir(join(dir, "minio"));
  minio = await startMinio({ dir: join(dir, "minio") });
});

afterAll(async () => {
  await minio.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Returns rows and column names that DuckDB reads from copies of the table's blocks. */
async function readWithDuckDb(snapshot: Snapshot): Promise<{ rows: number; columns: string[] }> {
  const copies = await mkdtemp(join(dir, "copies-"));
  let at = 0;
  for (const path of snapshot.files.keys()) {
    const to = join(copies, `${++at}.parquet`);
    await minioClient(minio).fGetObject(bucket, `${singleTenant}/${path}`, to);
  }
  const duckdb = await (await DuckDBInstance.create(":memory:")).connect();
  try {
    const from = `read_parquet('${copies}/*.parquet', union_by_name = true)`;
    const counted = await duckdb.runAndReadAll(`select count(*)::int as n from ${from}`);
    const described = await duckdb.runAndReadAll(`describe select * from ${from}`);
    const columns = described.getRowObjects().map(({ column_name: name }) => String(name));
    return { rows: Number(counted.getRowObjects()[0].n), columns };
  } finally {
    duckdb.closeSync();
  }
}

async function readWithDelta(): Promise<DeltaRsTable> {
  return await readWithDeltaRs(`s3://${bucket}/${singleTenant}`, {
    AWS_ENDPOINT_URL: minio.address,
    AWS_ACCESS_KEY_ID: minioUser,
    AWS_SECRET_ACCESS_KEY: minioPassword,
    AWS_REGION: "us-east-1",
    AWS_ALLOW_HTTP: "true",
  });
}

async function expectAgreement(table: Table, spans: number): Promise<void> {
  const snapshot = await table.refresh();
  const rows = [...snapshot.files.values()].reduce((sum, { stats }) => sum + stats.rows, 0);
  expect(rows).toBe(spans);
  const delta = await readWithDelta();
  const duckdb = await readWithDuckDb(snapshot);
  const { version, files } = { version: snapshot.version, files: snapshot.files.size };
  expect(delta).toMatchObject({ version, files, rows: spans });
  expect(duckdb.rows).toBe(spans);
  expect(delta.columns.toSorted()).toEqual([...snapshot.columns.keys()].sort());
  const unknown = duckdb.columns.filter((name) => !snapshot.columns.has(name));
  expect(unknown).toEqual([]);
}

it("all count the same, before and after schema growth, a checkpoint and a clean-up", async () => {
  const options = await makeS3Bucket(minio, bucket);
  const dataDir = join(dir, "data");
  await mkdir(dataDir);
  const config = `span_log: {free_bytes_min: 1MiB}\n${s3StorageYaml(options)}`;
  const store = openS3Store(options);
  const log = openLog("silent");
  const table = openTable({ store, tenant: singleTenant, clock: systemClock, log });
  let spans = 0;
  const sendSome = async (attributes: Record<string, string>): Promise<void> => {
    const spoor = await startSpoorProcess({ dataDir, config });
    await spoor.ready();
    for (let i = 0; i < 30; i++) {
      await send(spoor.otlpHttp, makeTrace(7, { attributes }));
      spans += 7;
    }
    expect(await spoor.stop()).toBe(0);
  };
  await sendSome({ "http.method": "GET" });
  await expectAgreement(table, spans);
  await sendSome({ "http.method": "PUT", "shop.region": "north" });
  await expectAgreement(table, spans);
  const nowMs = Date.now();
  expect(await table.checkpoint({ commitsMin: 1, removedBeforeMs: nowMs - 1000 })).toBe(true);
  await expectAgreement(table, spans);
  await sendSome({ "shop.order": "17" });
  // The clean-up that would run in a day.
  const clock = { ...systemClock, nowMs: () => Date.now() + 24 * 3_600_000 };
  const later = openTable({ store, tenant: singleTenant, clock, log });
  expect(await later.cleanUp(Date.now() + 60_000)).toBeGreaterThan(0);
  const first = `${singleTenant}/_delta_log/00000000000000000000.json`;
  await expect(store.head(first)).rejects.toMatchObject({ code: "NotFound" });
  await expectAgreement(openTable({ store, tenant: singleTenant, clock: systemClock, log }), spans);
});
