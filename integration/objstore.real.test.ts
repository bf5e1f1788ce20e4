/** The one contract suite on the real servers; buckets are made by clients that are not ours. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe } from "vitest";
import { describeObjectStore } from "#pkg/objstore/contract.ts";
import { openGcsStore } from "#pkg/objstore/gcs.ts";
import { openS3Store } from "#pkg/objstore/s3.ts";
import { makeGcsBucket, makeS3Bucket } from "#integration/parts/buckets.ts";
import type { Part } from "#integration/parts/daemon.ts";
import { startGcs } from "#integration/parts/gcs.ts";
import { type Minio, startMinio } from "#integration/parts/minio.ts";

let dir = "";
let minio: Minio;
let gcs: Part;
let buckets = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-minio-"));
  [minio, gcs] = await Promise.all([startMinio({ dir }), startGcs()]);
}, 1_200_000);

afterAll(async () => {
  await Promise.all([minio.stop(), gcs.stop()]);
  await rm(dir, { recursive: true, force: true });
});

describe("buckets of real servers", () => {
  const next = (): string => `contract-${++buckets}`;
  describeObjectStore("MinIO", async () => openS3Store(await makeS3Bucket(minio, next())));
  describeObjectStore("GCS emulator", async () => openGcsStore(await makeGcsBucket(gcs, next())));
});
