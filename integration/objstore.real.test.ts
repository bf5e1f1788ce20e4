/** The contract tests of stores on real servers; independent clients create the buckets. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "#pkg/clock/clock.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";
import { describeObjectStore } from "#pkg/objstore/contract/contract.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { retryStore } from "#pkg/objstore/wrap/retry.ts";
import { probeStore } from "#pkg/objstore/probe.ts";
import { openGcsStore } from "#pkg/objstore/gcs/gcs.ts";
import { openS3Store } from "#pkg/objstore/s3/s3.ts";
import { makeGcsBucket, makeS3Bucket, minioClient } from "#integration/parts/buckets.ts";
import type { Part } from "#integration/parts/daemon.ts";
import { startGcs } from "#integration/parts/gcs.ts";
import { type Minio, startMinio } from "#integration/parts/minio.ts";

let dir = "";
let minio: Minio;
let gcs: Part;
let buckets = 0;

function tryAgain(store: ObjectStore): ObjectStore {
  const bounds = { attemptsMax: 5, backoffMinMs: 10, backoffMaxMs: 1000 };
  const budget = { budgetShare: 0.1, budgetBurst: 20 };
  return retryStore(store, {
    ...bounds,
    ...budget,
    clock: systemClock,
    ledger: new StoreLedger(),
  });
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-minio-"));
  [minio, gcs] = await Promise.all([startMinio({ dir }), startGcs()]);
});

afterAll(async () => {
  await Promise.all([minio.stop(), gcs.stop()]);
  await rm(dir, { recursive: true, force: true });
});

describe("buckets of real servers", () => {
  const next = (): string => `contract-${++buckets}`;
  // MinIO denies a write (403) while a delete removes its folder: about one of 2,000 in a race for
  // one folder, with and without checksums. Spoor's stores retry such a write.
  describeObjectStore("MinIO", async () =>
    tryAgain(openS3Store(await makeS3Bucket(minio, next()))),
  );
  describeObjectStore("MinIO without checksums", async () => {
    const options = await makeS3Bucket(minio, next());
    return tryAgain(openS3Store({ ...options, checksums: "when_required" }));
  });
  describeObjectStore("GCS emulator", async () => openGcsStore(await makeGcsBucket(gcs, next())));
});

describe("a second client", () => {
  test("sees what Spoor wrote, whole, with its tags, and no unfinished upload", async () => {
    const options = await makeS3Bucket(minio, "second");
    const store = openS3Store({ ...options, tags: { team: "a b" }, storageClass: "STANDARD" });
    const large = new Uint8Array(12 * 1024 * 1024).fill(7);
    await store.put("t/blocks/large", large);
    await store.putIfAbsent("t/_delta_log/0.json", new TextEncoder().encode("{}"));
    const client = minioClient(minio);
    const { size, etag } = await client.statObject("second", "t/blocks/large");
    // "-3": it was uploaded in three parts.
    expect([size, etag.slice(-2)]).toEqual([large.length, "-3"]);
    expect(await text(await client.getObject("second", "t/_delta_log/0.json"))).toBe("{}");
    const tags = await client.getObjectTagging("second", "t/blocks/large");
    expect(tags).toEqual([{ Key: "team", Value: "a b" }]);
    const abort = new AbortController();
    const writing = store.put("t/blocks/broken", large, { signal: abort.signal });
    setTimeout(() => abort.abort(), 20);
    await expect(writing).rejects.toMatchObject({ code: "Canceled" });
    expect(await client.listIncompleteUploads("second", "", true).toArray()).toEqual([]);
    await expect(store.head("t/blocks/broken")).rejects.toMatchObject({ code: "NotFound" });
    await client.putObject("second", "theirs", "of another client");
    expect(new TextDecoder().decode(await store.get("theirs"))).toBe("of another client");
  });

  test("a clock that is an hour off is refused by the server, in one sentence", async () => {
    const options = await makeS3Bucket(minio, "clock");
    for (const clockOffsetMs of [3_600_000, -3_600_000]) {
      const store = openS3Store({ ...options, clockOffsetMs });
      const error = await store.put("k", new Uint8Array(1)).catch(toSpoorError);
      expect(error).toMatchObject({ code: "InvalidInput", reason: "clock_skew" });
    }
  });

  test("MinIO stands the probe without checksums, and deletes many by Content-MD5", async () => {
    const options = await makeS3Bucket(minio, "unchecked");
    const store = openS3Store({ ...options, checksums: "when_required" });
    await probeStore(store, { clock: systemClock, clockSkewMaxMs: 60_000 });
    const keys = Array.from({ length: 1200 }, (_, i) => `t/${i}`);
    await Promise.all(keys.map((key) => store.put(key, new Uint8Array(1))));
    await store.deleteMany(keys);
    expect(await Array.fromAsync(store.list(""))).toEqual([]);
  });

  test("both servers stand the probe", async () => {
    const stores = [
      openS3Store(await makeS3Bucket(minio, "probe")),
      openGcsStore(await makeGcsBucket(gcs, "probe")),
    ];
    for (const store of stores) {
      await probeStore(store, { clock: systemClock, clockSkewMaxMs: 60_000 });
      expect(await Array.fromAsync(store.list(""))).toEqual([]);
    }
  });
});
