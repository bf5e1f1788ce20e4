/**
 * Responses that MinIO cannot be made to send: the test's own server sends the bytes that AWS
 * documents. Also checks the headers of requests: encryption, class, tags and checksums.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { crc32 } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { toSpoorError } from "#pkg/errors/errors.ts";
import type { ObjectStore } from "./object-store.ts";
import { openS3Store } from "#pkg/objstore/s3/s3.ts";
import { s3TestOptions } from "#pkg/objstore/s3/s3.testing.ts";
import type { S3Options } from "#pkg/objstore/s3/s3-options.ts";

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** Ends the connection after the body, whatever Content-Length says. */
  cutOff?: boolean;
}

let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  if (server !== undefined) await once(server, "close");
  server = undefined;
});

async function serve(
  answer: (request: Seen) => Answer | Promise<Answer>,
  over: Partial<S3Options> = {},
): Promise<{ store: ObjectStore; seen: Seen[] }> {
  const seen: Seen[] = [];
  const onRequest = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const { method = "", url = "", headers } = request;
    seen.push({ method, url, headers, body: Buffer.concat(chunks) });
    const { status, headers: sent = {}, body = "", cutOff } = await answer(seen.at(-1)!);
    response.writeHead(status, sent);
    if (cutOff === true) response.write(body, () => response.destroy());
    else response.end(body);
  };
  server = createServer((request, response) => void onRequest(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { store: openS3Store({ ...s3TestOptions(`http://127.0.0.1:${port}`), ...over }), seen };
}

function xml(code: string, more = ""): string {
  return `<?xml version="1.0"?><Error><Code>${code}</Code><Message>said so</Message>${more}</Error>`;
}

const content = new Uint8Array([1, 2, 3]);

const errors: [string, Answer, { code: string; reason: string; retryAfterMs?: number }][] = [
  ["SlowDown", { status: 503 }, { code: "Unavailable", reason: "slow_down" }],
  [
    "SlowDown",
    { status: 503, headers: { "retry-after": "7" } },
    { code: "Unavailable", reason: "slow_down", retryAfterMs: 7000 },
  ],
  ["InternalError", { status: 500 }, { code: "Unavailable", reason: "server_error" }],
  ["RequestTimeout", { status: 400 }, { code: "Timeout", reason: "request_timeout" }],
  [
    "ConditionalRequestConflict",
    { status: 409 },
    { code: "Unavailable", reason: "write_conflict" },
  ],
  ["InvalidAccessKeyId", { status: 403 }, { code: "InvalidInput", reason: "wrong_credentials" }],
  ["SignatureDoesNotMatch", { status: 403 }, { code: "InvalidInput", reason: "wrong_credentials" }],
  ["ExpiredToken", { status: 400 }, { code: "InvalidInput", reason: "wrong_credentials" }],
  ["AccessDenied", { status: 403 }, { code: "InvalidInput", reason: "access_denied" }],
  ["RequestTimeTooSkewed", { status: 403 }, { code: "InvalidInput", reason: "clock_skew" }],
  ["NoSuchBucket", { status: 404 }, { code: "InvalidInput", reason: "bucket_missing" }],
  ["BadDigest", { status: 400 }, { code: "Unavailable", reason: "checksum_mismatch" }],
  ["XMinioStorageFull", { status: 507 }, { code: "Unavailable", reason: "disk_full" }],
  ["EntityTooLarge", { status: 400 }, { code: "TooLarge", reason: "object_too_large" }],
  ["SomethingNew", { status: 400 }, { code: "InvalidInput", reason: "something_new" }],
];

test.each(errors)("%s becomes a typed error", async (name, answer, expected) => {
  const { store, seen } = await serve(() => ({ ...answer, body: xml(name) }));
  const error = await store.putIfAbsent("k", content).catch(toSpoorError);
  expect(error).toMatchObject(expected);
  expect(seen).toHaveLength(1);
});

test("the error for a bucket in another region names the region", async () => {
  const body = xml("AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>");
  const { store } = await serve(() => ({ status: 400, body }));
  const error = await store.get("k").catch(toSpoorError);
  expect(error).toMatchObject({ code: "InvalidInput", reason: "wrong_region" });
  expect(String(error)).toContain("the bucket is in another region, its region is eu-central-1");
  const moved = await serve(() => ({
    status: 301,
    headers: { "x-amz-bucket-region": "us-west-2" },
  }));
  const redirected = toSpoorError(await moved.store.head("k").catch(toSpoorError));
  expect(redirected).toMatchObject({ code: "InvalidInput", reason: "wrong_region" });
  expect(String(redirected)).toContain("us-west-2");
});

test("a body that ends early or has a wrong checksum is an error", async () => {
  const headers = { "content-length": "10" };
  const short = await serve(() => ({ status: 200, headers, body: "12345", cutOff: true }));
  await expect(short.store.get("k")).rejects.toMatchObject({
    code: "Unavailable",
    reason: "connection_lost",
  });
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32("1234567890"));
  const checked = { ...headers, "x-amz-checksum-crc32": sum.toString("base64") };
  const good = await serve(() => ({ status: 200, headers: checked, body: "1234567890" }));
  expect(Buffer.from(await good.store.get("k")).toString()).toBe("1234567890");
  const bad = await serve(() => ({ status: 200, headers: checked, body: "1234567891" }));
  await expect(bad.store.get("k")).rejects.toMatchObject({
    code: "Corrupt",
    reason: "checksum_mismatch",
  });
});

test("a server that ignores ranges is detected", async () => {
  const { store } = await serve(() => ({
    status: 200,
    headers: { "content-length": "10" },
    body: "1234567890",
  }));
  await expect(store.getRange("k", 0, 4)).rejects.toMatchObject({ code: "Corrupt" });
  await expect(store.getRange("k", 0, 10)).rejects.toMatchObject({ code: "Corrupt" });
});

test("a missing server, and one that does not speak HTTP, are typed errors", async () => {
  const store = openS3Store(s3TestOptions("http://127.0.0.1:1"));
  await expect(store.get("k")).rejects.toMatchObject({
    code: "Unavailable",
    reason: "unreachable",
  });
  const nowhere = openS3Store(s3TestOptions("http://spoor.invalid"));
  await expect(nowhere.get("k")).rejects.toMatchObject({
    code: "Unavailable",
    reason: "host_not_found",
  });
  const { store: html } = await serve(() => ({ status: 502, body: "<html>bad gateway</html>" }));
  await expect(html.get("k")).rejects.toMatchObject({ code: "Unavailable" });
});

test("writes carry encryption, class, tags, checksum and the condition", async () => {
  const { store, seen } = await serve(() => ({ status: 200 }), {
    encryption: "kms",
    kmsKeyId: "key-1",
    storageClass: "STANDARD_IA",
    tags: { team: "a b", app: "spoor" },
  });
  await store.put("t/blocks/a", content);
  expect(await store.putIfAbsent("t/_delta_log/1.json", content)).toBe(true);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(content));
  const common = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "key-1",
    "x-amz-tagging": "team=a+b&app=spoor",
    "x-amz-checksum-crc32": sum.toString("base64"),
    "content-length": "3",
  };
  expect(seen.map(({ method, url }) => `${method} ${url.split("?")[0]}`)).toEqual([
    "PUT /b/t/blocks/a",
    "PUT /b/t/_delta_log/1.json",
  ]);
  expect(seen[0].headers).toMatchObject({ ...common, "x-amz-storage-class": "STANDARD_IA" });
  expect(seen[0].headers["if-none-match"]).toBeUndefined();
  expect(seen[1].headers).toMatchObject({ ...common, "if-none-match": "*" });
  expect(seen[1].headers["x-amz-storage-class"]).toBeUndefined();
  expect(seen[0].body).toEqual(Buffer.from(content));
});

test("checksums when_required: none is sent or requested", async () => {
  const { store, seen } = await serve(() => ({ status: 200 }), { checksums: "when_required" });
  await store.put("k", content);
  await store.get("k");
  for (const { headers } of seen) {
    expect(Object.keys(headers).filter((name) => name.includes("checksum"))).toEqual([]);
  }
});

/** A server of 2019: it supports only Content-MD5, and requires it for multi-object deletes. */
function oldServer({ url, headers, body }: Seen): Answer {
  const refused = (code: string, message: string): Answer => {
    const text = `<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
    return { status: code === "NotImplemented" ? 501 : 400, body: text };
  };
  if (Object.keys(headers).some((name) => /checksum|trailer/.test(name))) {
    const message = "A header you provided implies functionality that is not implemented";
    return refused("NotImplemented", message);
  }
  if (!url.includes("?delete")) return { status: 200 };
  const md5 = createHash("md5").update(body).digest("base64");
  if (headers["content-md5"] === undefined) return refused("MissingContentMD5", "Content-MD5");
  if (headers["content-md5"] !== md5) return refused("BadDigest", "Content-MD5");
  const signed = /SignedHeaders=([^,]+)/.exec(headers.authorization ?? "")?.[1].split(";");
  if (signed?.includes("content-md5") !== true) return refused("AccessDenied", "unsigned");
  return { status: 200, body: "<DeleteResult></DeleteResult>" };
}

test("checksums when_required covers multi-object deletes: a server of 2019 accepts them", async () => {
  const { store, seen } = await serve(oldServer, { checksums: "when_required" });
  await store.put("k", content);
  await store.deleteMany(["a/1", "a/2"]);
  expect(seen.map(({ url }) => url.includes("?delete"))).toEqual([false, true]);
  expect(seen[1].body.toString()).toContain("<Key>a/2</Key>");
});

test("a server that refuses checksums: the error names the setting to try", async () => {
  const { store } = await serve(oldServer);
  const refused = { code: "InvalidInput", reason: "checksum_refused" };
  const setting = "try storage.s3.checksums: when_required";
  for (const run of [() => store.put("k", content), () => store.deleteMany(["a"])]) {
    const error = toSpoorError(await run().catch((thrown: unknown) => thrown));
    expect(error).toMatchObject(refused);
    expect(error.message).toContain(setting);
  }
});

test("a failed multipart upload is aborted, and each part has a checksum", async () => {
  const bytes = new Uint8Array(12 * 1024 * 1024).fill(7);
  // The second of three parts fails after all have arrived, so none is cut off or arrives late.
  const allParts = Promise.withResolvers<void>();
  let parts = 0;
  const answer = async ({ method, url }: Seen): Promise<Answer> => {
    if (url.includes("partNumber") && ++parts === 3) allParts.resolve();
    if (method === "POST" && url.includes("uploads")) {
      const body =
        '<?xml version="1.0"?><InitiateMultipartUploadResult><UploadId>up1</UploadId>' +
        "</InitiateMultipartUploadResult>";
      return { status: 200, body };
    }
    if (url.includes("partNumber=2")) {
      await allParts.promise;
      return { status: 503, body: xml("SlowDown") };
    }
    if (method === "DELETE") return { status: 204 };
    return { status: 200, headers: { etag: '"e"' } };
  };
  const { store, seen } = await serve(answer);
  await expect(store.put("k", bytes)).rejects.toMatchObject({ reason: "slow_down" });
  const last = seen.at(-1)!;
  expect(last.method).toBe("DELETE");
  expect(last.url).toContain("uploadId=up1");
  expect(seen.filter(({ url }) => url.includes("partNumber")).length).toBeGreaterThanOrEqual(1);
  expect(seen.some(({ method, url }) => method === "POST" && url.includes("uploadId"))).toBe(false);
  for (const part of seen.filter(({ url }) => url.includes("partNumber"))) {
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(part.body));
    expect(part.headers["x-amz-checksum-crc32"]).toBe(sum.toString("base64"));
  }
});

test("deleteMany says which object could not be deleted", async () => {
  const body =
    '<?xml version="1.0"?><DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code>' +
    "<Message>no</Message></Error></DeleteResult>";
  const { store } = await serve(() => ({ status: 200, body }));
  const error = await store.deleteMany(["a", "b"]).catch(toSpoorError);
  expect(error).toMatchObject({ code: "InvalidInput", reason: "access_denied" });
  expect(String(error)).toContain("delete object b");
});
