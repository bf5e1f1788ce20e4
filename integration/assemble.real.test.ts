/**
 * The requests to real servers while an object is assembled from others, seen by a proxy. Long
 * ranges and whole objects must not pass through this process, and no upload may be left behind.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type CountedStore, countStore } from "#pkg/objstore/wrap/count.ts";
import { openGcsStore } from "#pkg/objstore/gcs/gcs.ts";
import type { ObjectStore, Piece } from "#pkg/objstore/object-store.ts";
import { openS3Store } from "#pkg/objstore/s3/s3.ts";
import { isTemporary } from "#pkg/objstore/temporaries.ts";
import { makeGcsBucket, makeS3Bucket, minioClient } from "#integration/parts/buckets.ts";
import type { Part } from "#integration/parts/daemon.ts";
import { startGcs } from "#integration/parts/gcs.ts";
import { type HttpProxy, type ProxiedRequest } from "#integration/parts/http-proxy.ts";
import { startHttpProxy, type Verdict } from "#integration/parts/http-proxy.ts";
import { type Minio, startMinio } from "#integration/parts/minio.ts";

const MIB = 1024 * 1024;

let dir = "";
let minio: Minio;
let gcs: Part;
let toMinio: HttpProxy;
let toGcs: HttpProxy;
let buckets = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-assemble-"));
  [minio, gcs] = await Promise.all([startMinio({ dir }), startGcs()]);
  [toMinio, toGcs] = await Promise.all([minio, gcs].map(({ address }) => startHttpProxy(address)));
});

afterEach(() => {
  for (const proxy of [toMinio, toGcs]) proxy.plan = () => "pass";
});

afterAll(async () => {
  await Promise.all([toMinio.stop(), toGcs.stop()]);
  await Promise.all([minio.stop(), gcs.stop()]);
  await rm(dir, { recursive: true, force: true });
});

interface Rig {
  /** The store through the proxy. */
  store: CountedStore;
  /** The store without the proxy. */
  direct: ObjectStore;
  bucket: string;
}

async function s3Rig(): Promise<Rig> {
  const bucket = `assemble-${++buckets}`;
  const options = await makeS3Bucket(minio, bucket);
  const store = countStore(openS3Store({ ...options, endpoint: toMinio.address }));
  return { store, direct: openS3Store(options), bucket };
}

async function gcsRig(): Promise<Rig> {
  const bucket = `assemble-${++buckets}`;
  const options = await makeGcsBucket(gcs, bucket);
  const store = countStore(openGcsStore({ ...options, endpoint: toGcs.address }));
  return { store, direct: openGcsStore(options), bucket };
}

function bytesOf(sizeBytes: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) bytes[i] = (i * 7 + (i >>> 8) * seed) % 251;
  return bytes;
}

/** Returns the requests seen by the proxy: one word each, with the range if there is one. */
function watch(proxy: HttpProxy, plan: HttpProxy["plan"]): string[] {
  const seen: string[] = [];
  proxy.plan = (request) => {
    seen.push(nameOf(request));
    return plan(request);
  };
  return seen;
}

function nameOf({ method, url, headers }: ProxiedRequest): string {
  const copied = headers["x-amz-copy-source-range"];
  if (typeof copied === "string") {
    return `copy ${String(headers["x-amz-copy-source"]).split("/").at(-1)} ${copied}`;
  }
  if (url.includes("/compose")) return "compose";
  if (url.includes("?uploads")) return "begin";
  if (url.includes("partNumber=")) return "part";
  if (url.includes("uploadId=")) return method === "DELETE" ? "abort" : "end";
  return headers.range === undefined ? method : `${method} ${headers.range}`;
}

const footer = bytesOf(1000, 5);

test("MinIO copies long ranges; only the bytes between them pass through this process", async () => {
  const { store, direct, bucket } = await s3Rig();
  const [a, b] = [bytesOf(12 * MIB, 1), bytesOf(20 * MIB, 2)];
  await direct.put("t/blocks/a", a);
  await direct.put("t/blocks/b", b);
  const pieces = [
    footer,
    { key: "t/blocks/a", start: 4, end: 11 * MIB },
    { key: "t/blocks/b", start: 4, end: 8 * MIB },
    { key: "t/blocks/b", start: 8 * MIB, end: 19 * MIB },
    footer,
  ];
  const expected = Buffer.concat([
    footer,
    a.subarray(4, 11 * MIB),
    b.subarray(4, 19 * MIB),
    footer,
  ]);
  const lacking = 5 * MIB - footer.length;
  const asked = [
    "HEAD",
    "HEAD",
    "begin",
    `GET bytes=4-${4 + lacking - 1}`,
    "part",
    `copy a bytes=${4 + lacking}-${11 * MIB - 1}`,
    `copy b bytes=4-${19 * MIB - 1}`,
    "part",
    "end",
  ];
  // MinIO returns no checksum for copied parts: the first upload is restarted without checksums.
  const first = watch(toMinio, () => "pass");
  await store.assemble("t/blocks/first", pieces);
  expect(first.filter((name) => name === "abort")).toEqual(["abort"]);
  expect(first.filter((name) => name === "begin")).toEqual(["begin", "begin"]);
  expect(Buffer.compare(await direct.get("t/blocks/first"), expected)).toBe(0);
  const before = { ...store.counts.getRange };
  const beforeWrites = { ...store.counts.assemble };
  const second = watch(toMinio, () => "pass");
  await store.assemble("t/blocks/second", pieces);
  expect(second.toSorted()).toEqual(asked.toSorted());
  expect(Buffer.compare(await direct.get("t/blocks/second"), expected)).toBe(0);
  // begin, two parts sent, two copied, end
  expect(store.counts.assemble.requests - beforeWrites.requests).toBe(6);
  expect(store.counts.assemble.bytes - beforeWrites.bytes).toBe(5 * MIB + footer.length);
  expect(store.counts.getRange.requests - before.requests).toBe(1);
  expect(store.counts.getRange.bytes - before.bytes).toBe(lacking);
  const { size, etag } = await minioClient(minio).statObject(bucket, "t/blocks/second");
  expect([size, etag.slice(-2)]).toEqual([expected.length, "-4"]);
  expect(await minioClient(minio).listIncompleteUploads(bucket, "", true).toArray()).toEqual([]);
});

test("MinIO: whole blocks and a footer: nothing is read, and small objects are one PUT", async () => {
  const { store, direct } = await s3Rig();
  for (const key of ["a", "b", "c"]) await direct.put(key, bytesOf(6 * MIB, 3));
  const whole = (key: string): Piece => ({ key, start: 0, end: 6 * MIB });
  await store.assemble("warm", [whole("a")]);
  const seen = watch(toMinio, () => "pass");
  await store.assemble("joined", [whole("a"), whole("b"), whole("c"), footer]);
  expect(seen.filter((name) => name.startsWith("GET"))).toEqual([]);
  expect(seen.filter((name) => name.startsWith("copy"))).toHaveLength(3);
  seen.length = 0;
  await store.assemble("small", [footer, { key: "a", start: 1, end: 9 }]);
  expect(seen).toEqual(["HEAD", "GET bytes=1-8", "PUT"]);
});

test("MinIO: a source that is replaced meanwhile is noticed, by copies and by reads", async () => {
  const { store, direct, bucket } = await s3Rig();
  await direct.put("source", bytesOf(12 * MIB, 1));
  await store.assemble("target", [{ key: "source", start: 0, end: 12 * MIB }]);
  await direct.put("target", footer);
  const isRead = (name: string): boolean => name.startsWith("GET bytes");
  const isCopy = (name: string): boolean => name.startsWith("copy");
  for (const isIt of [isRead, isCopy]) {
    for (const change of ["replace", "delete"]) {
      let isChanged = false;
      watch(toMinio, async (request): Promise<Verdict> => {
        if (isChanged || !isIt(nameOf(request))) return "pass";
        isChanged = true;
        if (change === "replace") await direct.put("source", bytesOf(12 * MIB, 9));
        else await direct.delete("source");
        return "pass";
      });
      const pieces = [footer, { key: "source", start: 0, end: 12 * MIB }];
      await expect(store.assemble("target", pieces)).rejects.toMatchObject({
        code: "Unavailable",
        reason: "source_changed",
        message: expect.stringContaining("object source "),
      });
      expect(isChanged).toBe(true);
      expect(await direct.get("target")).toEqual(footer);
      await direct.put("source", bytesOf(12 * MIB, 1));
    }
  }
  expect(await minioClient(minio).listIncompleteUploads(bucket, "", true).toArray()).toEqual([]);
});

test("MinIO: after any request that fails, or an abort, no upload and no object is left", async () => {
  const { store, direct, bucket } = await s3Rig();
  await direct.put("source", bytesOf(12 * MIB, 1));
  const pieces = [footer, { key: "source", start: 0, end: 12 * MIB }, footer];
  await store.assemble("warm", pieces);
  await direct.delete("warm");
  const names = ["HEAD", "begin", "GET bytes", "part", "copy", "end"];
  for (const name of names) {
    for (const verdict of ["refuse", "lose", { status: 503 }, "abort"] as const) {
      // Only the server can remove an upload whose id was lost.
      if (name === "begin" && verdict === "lose") continue;
      const abort = new AbortController();
      let isDone = false;
      watch(toMinio, (request) => {
        if (isDone || !nameOf(request).startsWith(name)) return "pass";
        isDone = true;
        if (verdict !== "abort") return verdict;
        abort.abort();
        return "refuse";
      });
      const code = expect.stringMatching(verdict === "abort" ? "Canceled" : /Unavailable|Timeout/u);
      const { signal } = abort;
      await expect(store.assemble("new", pieces, { signal })).rejects.toMatchObject({ code });
      expect(isDone).toBe(true);
      const isThere = name === "end" && verdict === "lose";
      expect(await keysOf(direct)).toEqual(isThere ? ["new", "source"] : ["source"]);
      await direct.delete("new");
      const left = await minioClient(minio).listIncompleteUploads(bucket, "", true).toArray();
      expect(left, `${name} ${JSON.stringify(verdict)}`).toEqual([]);
    }
  }
});

test("GCS composes whole blocks: no byte of them comes through here", async () => {
  const { store, direct } = await gcsRig();
  for (const key of ["t/a", "t/b", "t/c"]) await direct.put(key, bytesOf(6 * MIB, 3));
  const whole = (key: string): Piece => ({ key, start: 0, end: 6 * MIB });
  const seen = watch(toGcs, () => "pass");
  await store.assemble("t/joined", [whole("t/a"), whole("t/b"), whole("t/c"), footer]);
  expect(seen.toSorted()).toEqual(["DELETE", "GET", "GET", "GET", "POST", "compose"]);
  expect(store.counts).toMatchObject({
    head: { requests: 3 },
    getRange: { requests: 0, bytes: 0 },
    // the footer and the composition
    assemble: { requests: 2, bytes: footer.length },
    delete: { requests: 1 },
  });
  const read = await direct.getRange("t/joined", 12 * MIB, 18 * MIB + footer.length);
  expect(Buffer.compare(read, Buffer.concat([bytesOf(6 * MIB, 3), footer]))).toBe(0);
  expect(await keysOf(direct)).toEqual(["t/a", "t/b", "t/c", "t/joined"]);
});

test("GCS: ranges are read and sent on as one upload, without temporary objects", async () => {
  const { store, direct } = await gcsRig();
  await direct.put("a", bytesOf(20 * MIB, 1));
  const seen = watch(toGcs, () => "pass");
  await store.assemble("joined", [footer, { key: "a", start: 4, end: 19 * MIB }]);
  expect(seen.filter((name) => name === "compose" || name === "DELETE")).toEqual([]);
  expect(store.counts).toMatchObject({
    getRange: { requests: 3, bytes: 19 * MIB - 4 },
    assemble: { requests: 1, bytes: 19 * MIB - 4 + footer.length },
  });
  const expected = Buffer.concat([footer, bytesOf(20 * MIB, 1).subarray(4, 19 * MIB)]);
  expect(Buffer.compare(await direct.get("joined"), expected)).toBe(0);
});

test("GCS: blocks are composed only if the result has the storage class that is wanted", async () => {
  const { direct, bucket } = await gcsRig();
  await direct.put("a", bytesOf(6 * MIB, 1));
  const pieces = [{ key: "a", start: 0, end: 6 * MIB }, footer];
  const options = { ...(await makeGcsBucket(gcs, `${bucket}-unused`)), bucket };
  for (const [storageClass, reads] of [
    ["STANDARD", 0],
    ["NEARLINE", 1],
  ] as const) {
    const store = countStore(openGcsStore({ ...options, storageClass }));
    await store.assemble("joined", pieces);
    expect(store.counts.getRange.requests, storageClass).toBe(reads);
  }
});

test("GCS: a source that is replaced or deleted meanwhile is noticed", async () => {
  const { store, direct } = await gcsRig();
  await direct.put("source", bytesOf(12 * MIB, 1));
  for (const change of ["replace", "delete"]) {
    let isChanged = false;
    watch(toGcs, async ({ method, url }): Promise<Verdict> => {
      if (isChanged || method !== "GET" || !url.includes("alt=media")) return "pass";
      isChanged = true;
      if (change === "replace") await direct.put("source", bytesOf(12 * MIB, 9));
      else await direct.delete("source");
      return "pass";
    });
    const pieces = [footer, { key: "source", start: 1, end: 12 * MIB }];
    await expect(store.assemble("target", pieces)).rejects.toMatchObject({
      code: "Unavailable",
      reason: "source_changed",
      message: expect.stringContaining("object source "),
    });
    expect(isChanged).toBe(true);
    await direct.put("source", bytesOf(12 * MIB, 1));
  }
  expect(await keysOf(direct)).toEqual(["source"]);
});

test("GCS: after any request that fails, or an abort, no temporary object is left", async () => {
  const { store, direct } = await gcsRig();
  await direct.put("t/a", bytesOf(6 * MIB, 1));
  const pieces = [footer, { key: "t/a", start: 0, end: 6 * MIB }, footer];
  for (const name of ["GET", "POST", "compose"]) {
    for (const verdict of ["refuse", "lose", { status: 503 }, "abort"] as const) {
      const abort = new AbortController();
      let isDone = false;
      watch(toGcs, (request) => {
        if (isDone || nameOf(request) !== name) return "pass";
        isDone = true;
        if (verdict !== "abort") return verdict;
        abort.abort();
        return "pass";
      });
      const { signal } = abort;
      const code = verdict === "abort" ? "Canceled" : "Unavailable";
      await expect(store.assemble("t/new", pieces, { signal })).rejects.toMatchObject({ code });
      expect(isDone).toBe(true);
      const left = (await keysOf(direct)).filter((key) => key !== "t/new");
      expect(left, `${name} ${JSON.stringify(verdict)}`).toEqual(["t/a"]);
      await direct.delete("t/new");
    }
  }
});

test("GCS: a temporary object that cannot be removed is counted, and known by its name", async () => {
  const { store, direct } = await gcsRig();
  await direct.put("t/a", bytesOf(6 * MIB, 1));
  watch(toGcs, ({ method }) => (method === "DELETE" ? { status: 503 } : "pass"));
  await store.assemble("t/new", [{ key: "t/a", start: 0, end: 6 * MIB }, footer]);
  expect(store.counts.delete).toMatchObject({ requests: 1, failures: 1 });
  const keys = await keysOf(direct);
  expect(keys.filter((key) => !isTemporary(key))).toEqual(["t/a", "t/new"]);
  const left = keys.filter(isTemporary);
  expect(left).toHaveLength(1);
  expect(left[0].startsWith("t/")).toBe(true);
  expect((await direct.head("t/new")).sizeBytes).toBe(6 * MIB + footer.length);
});

async function keysOf(store: ObjectStore): Promise<string[]> {
  return (await Array.fromAsync(store.list(""))).map(({ key }) => key);
}
