/** Assembly on servers that respond as AWS and other servers do. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { crc32 } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import type { ObjectRange, ObjectStore } from "#pkg/objstore/object-store.ts";
import { joinedBytesMax, parallelParts } from "#pkg/objstore/pieces.ts";
import { openS3Store } from "./s3.ts";
import { s3TestOptions } from "./s3.testing.ts";
import type { S3Options } from "./s3-options.ts";

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
}

/** Runs until the test ends. */
async function serveS3(
  answer: (request: Seen) => Answer | Promise<Answer>,
  over: Partial<S3Options> = {},
): Promise<{ store: ObjectStore; seen: Seen[] }> {
  const seen: Seen[] = [];
  const onRequest = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const { method = "", url = "", headers } = request;
    const one = { method, url, headers, body: Buffer.concat(chunks) };
    seen.push(one);
    const { status, headers: sent = {}, body = "" } = await answer(one);
    response.writeHead(status, sent).end(body);
  };
  const server = createServer((request, response) => void onRequest(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  const { port } = server.address() as AddressInfo;
  const endpoint = `http://127.0.0.1:${port}`;
  return { store: openS3Store({ ...s3TestOptions(endpoint), ...over }), seen };
}

/** The body of an error. */
function xml(code: string): string {
  const error = `<Code>${code}</Code><Message>said so</Message>`;
  return `<?xml version="1.0"?><Error>${error}</Error>`;
}

const MIB = 1024 * 1024;
const footer = new Uint8Array([1, 2, 3]);
const sumOfCopy = "AAAAAA==";

function sumOf(bytes: Uint8Array): string {
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(bytes));
  return sum.toString("base64");
}

function isCopy({ headers }: Seen): boolean {
  return headers["x-amz-copy-source"] !== undefined;
}

/** Serves objects of 20 MiB of sevens; a copy returns a checksum if the upload has checksums. */
function awsAnswer({ method, url, headers }: Seen): Answer {
  const begun = (name: string, body: string): Answer => {
    return { status: 200, body: `<?xml version="1.0"?><${name}>${body}</${name}>` };
  };
  if (method === "HEAD") {
    return { status: 200, headers: { etag: '"tag"', "content-length": String(20 * MIB) } };
  }
  if (method === "GET") {
    const [, start, end] = /bytes=(\d+)-(\d+)/u.exec(headers.range ?? "")!.map(Number);
    const body = Buffer.alloc(end + 1 - start, 7);
    const range = `bytes ${start}-${end}/${20 * MIB}`;
    const sent = { "content-range": range, "content-length": String(body.length) };
    return { status: 206, headers: sent, body };
  }
  if (method === "POST" && url.includes("uploads")) {
    return begun("InitiateMultipartUploadResult", "<UploadId>up</UploadId>");
  }
  if (method === "POST") return begun("CompleteMultipartUploadResult", "<ETag>e</ETag>");
  if (method === "DELETE") return { status: 204 };
  if (headers["x-amz-copy-source"] === undefined) return { status: 200, headers: { etag: '"s"' } };
  const sum = `<ChecksumCRC32>${sumOfCopy}</ChecksumCRC32>`;
  return begun("CopyPartResult", `<ETag>"c"</ETag>${sum}`);
}

const long = { key: "t/odd name+é", start: 3, end: 20 * MIB };
const endOf = (seen: Seen[]): string =>
  seen.findLast(({ method }) => method === "POST")!.body.toString();

test("copies are conditional on the source's tag, and the completion has all checksums", async () => {
  const { store, seen } = await serveS3(awsAnswer, {
    storageClass: "STANDARD_IA",
    encryption: "s3",
    tags: { app: "spoor" },
  });
  await store.assemble("t/new", [long, footer]);
  const begin = seen.find(({ url }) => url.includes("uploads"))!;
  expect(begin.headers).toMatchObject({
    "x-amz-checksum-algorithm": "CRC32",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-tagging": "app=spoor",
  });
  expect(seen.filter(isCopy).map(({ headers }) => headers)).toMatchObject([
    {
      "x-amz-copy-source": "b/t/odd%20name%2B%C3%A9",
      "x-amz-copy-source-range": `bytes=3-${20 * MIB - 1}`,
      "x-amz-copy-source-if-match": "tag",
    },
  ]);
  const parts = [...endOf(seen).matchAll(/<Part>.*?<\/Part>/gsu)].map(([part]) => part);
  expect(parts).toHaveLength(2);
  expect(parts[0]).toContain(`<ChecksumCRC32>${sumOfCopy}</ChecksumCRC32>`);
  expect(parts[0]).toContain("<PartNumber>1</PartNumber>");
  expect(parts[1]).toContain(`<ChecksumCRC32>${sumOf(footer)}</ChecksumCRC32>`);
});

const withoutSums: [string, (request: Seen) => Answer][] = [
  ["refuses it", () => ({ status: 400, body: xml("InvalidArgument") })],
  [
    "does not tell",
    () => ({
      status: 200,
      body: '<?xml version="1.0"?><CopyPartResult><ETag>"c"</ETag></CopyPartResult>',
    }),
  ],
];

test.each(withoutSums)(
  "a copy has no sum, the server %s: the upload begins again",
  async (_, say) => {
    let begun: string | undefined;
    const { store, seen } = await serveS3((request) => {
      if (request.url.includes("uploads"))
        begun = request.headers["x-amz-checksum-algorithm"] as string;
      return isCopy(request) && begun !== undefined ? say(request) : awsAnswer(request);
    });
    await store.assemble("t/new", [long, footer]);
    const begins = seen.filter(({ url }) => url.includes("uploads"));
    expect(begins.map(({ headers }) => headers["x-amz-checksum-algorithm"])).toEqual([
      "CRC32",
      undefined,
    ]);
    expect(seen.filter(({ method }) => method === "DELETE")).toHaveLength(1);
    expect(endOf(seen)).not.toContain("Checksum");
    // Sent parts still have their own checksums.
    const sent = seen.findLast((request) => request.method === "PUT" && !isCopy(request))!;
    expect(sent.headers["x-amz-checksum-crc32"]).toBe(sumOf(footer));
    seen.length = 0;
    await store.assemble("t/other", [long, footer]);
    expect(seen.filter(({ url }) => url.includes("uploads"))).toHaveLength(1);
    expect(seen.filter(({ method }) => method === "DELETE")).toEqual([]);
    // Uploads without copies keep their checksums.
    seen.length = 0;
    await store.assemble("t/sent", [new Uint8Array(11 * MIB)]);
    const [again] = seen.filter(({ url }) => url.includes("uploads"));
    expect(again.headers["x-amz-checksum-algorithm"]).toBe("CRC32");
    expect(endOf(seen)).toContain("ChecksumCRC32");
  },
);

test("a refusal with another reason is thrown, and checksums stay on", async () => {
  let refuses = true;
  const { store, seen } = await serveS3((request) =>
    isCopy(request) && refuses ? { status: 400, body: xml("InvalidRequest") } : awsAnswer(request),
  );
  await expect(store.assemble("t/new", [long, footer])).rejects.toMatchObject({
    code: "InvalidInput",
    reason: "invalid_request",
  });
  expect(seen.filter(({ method }) => method === "DELETE")).toHaveLength(2);
  refuses = false;
  await store.assemble("t/new", [long, footer]);
  const last = seen.findLast(({ url }) => url.includes("uploads"))!;
  expect(last.headers["x-amz-checksum-algorithm"]).toBe("CRC32");
});

test("checksums when_required: none is requested", async () => {
  const { store, seen } = await serveS3(awsAnswer, { checksums: "when_required" });
  await store.assemble("t/new", [footer, long, footer]);
  expect(seen.filter(isCopy)).toHaveLength(1);
  for (const { headers, body } of seen) {
    expect(Object.keys(headers).filter((name) => name.includes("checksum"))).toEqual([]);
    expect(body.length > MIB ? "" : body.toString()).not.toContain("Checksum");
  }
});

test("few parts, of bounded size, are in flight at the same time", async () => {
  let [now, most] = [0, 0];
  const { store, seen } = await serveS3(async (request) => {
    const isPart = request.url.includes("partNumber");
    if (isPart) most = Math.max(most, ++now);
    // Gives other parts time to arrive, if they may.
    for (let turn = 0; turn < 50; turn++) await new Promise((go) => setImmediate(go));
    if (isPart) now--;
    return awsAnswer(request);
  });
  const short = Array.from({ length: 30 }, (_, i) => {
    return { key: `t/${i % 3}`, start: i, end: i + 4 * MIB };
  });
  await store.assemble("t/new", short);
  const sizes = seen.filter(({ url }) => url.includes("partNumber")).map(({ body }) => body.length);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(120 * MIB);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(joinedBytesMax);
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThanOrEqual(parallelParts);
});

test("an object that no server can hold is refused before any request", async () => {
  const { store, seen } = await serveS3(awsAnswer);
  const ranges = (count: number): ObjectRange[] =>
    Array.from({ length: count }, (_, i) => ({ key: `t/${i}`, start: 0, end: 2 ** 37 }));
  for (const [count, reason] of [
    [41, "object_too_large"],
    [20, "too_many_parts"],
  ] as const) {
    const made = store.assemble("t/new", ranges(count));
    await expect(made).rejects.toMatchObject({ code: "TooLarge", reason });
  }
  expect(seen).toEqual([]);
});
