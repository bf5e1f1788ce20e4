/**
 * Hostile and broken data at every interface of the running binary that clients reach. The response
 * is clear and in the protocol's format, and the server keeps working. For files see
 * `bad-input-files.test.ts`, `bad-input-log.test.ts`.
 */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "#cmd/spoor/cli.ts";
import { recordIo } from "#cmd/spoor/spoor.testing.ts";
import { seededRandom } from "#integration/bench/dataset.ts";
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
import { runSpoor, type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import {
  openSocket,
  readAll,
  sendStream,
  type StreamAnswer,
} from "#modules/receivers/client.testing.ts";
import { frameMessage } from "#pkg/grpc/frame.ts";
import { WireReader } from "#pkg/bytes/wire.ts";

const timeout = 120_000;
const seed = 20_261_122;
const bodyBytesMax = 256 * 1024;

let dir = "";
let spoor: SpoorProcess;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-bad-input-"));
  await mkdir(join(dir, "data"));
  const config =
    "span_log: {free_bytes_min: 1MiB, partition_count: 2}\nquerier: {threads: 1}\n" +
    `receivers: {body_bytes_max: ${bodyBytesMax}, headers_timeout: 1s, request_timeout: 2s}\n`;
  spoor = await startSpoorProcess({ dataDir: join(dir, "data"), config });
  await spoor.ready();
}, timeout);

afterAll(async () => {
  // Nothing was mistaken for spans that cannot be stored.
  const code = await spoor.stop();
  await rm(dir, { recursive: true, force: true });
  expect(code).toBe(0);
}, timeout);

/** Checks that the process still accepts and finds a valid trace and holds no request. */
afterEach(async () => {
  const trace = makeTrace(2);
  await send(spoor.otlpHttp, trace);
  await eventually(async () => (await find(spoor.address, trace[0].traceId)).status === 200);
  const found = await find(spoor.address, trace[0].traceId);
  expect(found).toMatchObject({ partial: undefined, spanIds: spanIdsOf(trace) });
  process.kill(spoor.pid, 0);
  await eventually(
    async () => (await metric(spoor.address, "spoor_receivers_in_flight_bytes")) === 0,
  );
  expect(await metric(spoor.address, "spoor_ingester_worker_restarts_total")).toBe(0);
}, timeout);

/** Makes invalid data from valid data: cut, flipped, spliced, repeated. */
function mutate(random: () => number, source: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = Buffer.from(source);
  const at = (): number => Math.floor(random() * bytes.length);
  switch (Math.floor(random() * 5)) {
    case 0:
      return Uint8Array.from(bytes.subarray(0, at()));
    case 1:
      for (let i = 0; i < 3; i++) bytes[at()] ^= 1 << Math.floor(random() * 8);
      return Uint8Array.from(bytes);
    case 2:
      return Uint8Array.from(Buffer.concat([bytes.subarray(at()), bytes.subarray(at())]));
    case 3:
      bytes.fill(0xff, at());
      return Uint8Array.from(bytes);
    default:
      return Uint8Array.from(bytes, () => Math.floor(random() * 256));
  }
}

/** Returns code and message of a google.rpc.Status. */
function decodeStatus(bytes: Uint8Array): { code: number; message: string } {
  const reader = new WireReader(bytes);
  const status = { code: 0, message: "" };
  while (reader.pos < reader.end) {
    const tag = reader.tag();
    if (tag === 8) status.code = reader.varint32();
    else if (tag === 18) {
      const end = reader.lengthEnd();
      status.message = Buffer.from(bytes.subarray(reader.pos, end)).toString();
      reader.pos = end;
    } else reader.skip(tag);
  }
  return status;
}

/** Returns a length-delimited field. */
function field(number: number, content: Uint8Array): Buffer {
  const head: number[] = [(number << 3) | 2];
  let size = content.length;
  for (; size > 127; size >>>= 7) head.push((size & 127) | 128);
  return Buffer.concat([Uint8Array.from([...head, size]), content]);
}

/** Returns a request with one span whose attribute is a deeply nested array. */
function nestedRequest(depth: number): Uint8Array<ArrayBuffer> {
  let value: Buffer = field(1, Buffer.from("x"));
  for (let i = 0; i < depth; i++) value = field(5, field(1, value));
  const attribute = Buffer.concat([field(1, Buffer.from("k")), field(2, value)]);
  const span = Buffer.concat([
    field(1, randomBytes(16)),
    field(2, randomBytes(8)),
    field(9, attribute),
  ]);
  return Uint8Array.from(field(1, field(2, field(2, span))));
}

describe("OTLP/HTTP, protobuf", { timeout }, () => {
  it("mutations: taken, or refused with a Status", async () => {
    const random = seededRandom(seed);
    const source = requestOf([...makeTrace(3), ...makeTrace(2)]);
    let refused = 0;
    for (let i = 0; i < 400; i++) {
      const { status, headers, body } = await post(spoor.otlpHttp, mutate(random, source));
      expect([200, 400]).toContain(status);
      expect(headers.get("content-type")).toBe("application/x-protobuf");
      if (status === 200) continue;
      refused++;
      const decoded = decodeStatus(body);
      expect(decoded.code).toBe(3);
      expect(decoded.message.length).toBeGreaterThan(5);
    }
    expect(refused).toBeGreaterThan(100);
  });

  it("cut at every byte", async () => {
    const source = requestOf(makeTrace(1));
    for (let length = 0; length < source.length; length++) {
      const { status } = await post(spoor.otlpHttp, source.slice(0, length));
      // A cut at the end of a field leaves a valid request.
      expect([200, 400]).toContain(status);
    }
  });

  it.each([
    ["nested 10,000 deep", nestedRequest(10_000), 400],
    ["20 arrays in each other", nestedRequest(20), 200],
    ["a length of 4 GiB", Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f), 400],
    ["a varint without end", new Uint8Array(200).fill(0x80), 400],
    ["field number 0", Uint8Array.of(0x02, 0x00), 400],
    ["groups", Uint8Array.of(0x0b, 0x0c), 400],
    ["too large", new Uint8Array(bodyBytesMax + 1), 413],
  ])("%s", async (_, bytes, expected) => {
    const { status, body } = await post(spoor.otlpHttp, bytes as Uint8Array<ArrayBuffer>);
    expect(status).toBe(expected);
    if (expected !== 200) expect(decodeStatus(body).message).not.toBe("");
  });

  it("compressed: bombs, lies and unknown encodings", async () => {
    const good = requestOf(makeTrace(1));
    const cases: [Buffer, string, number][] = [
      [gzipSync(Buffer.alloc(64 * 1024 * 1024)), "gzip", 413],
      [gzipSync(good).subarray(0, 20), "gzip", 400],
      [Buffer.from(good), "gzip", 400],
      [Buffer.from("not zstd"), "zstd", 400],
      [Buffer.alloc(0), "gzip", 400],
      [Buffer.from(good), "br", 415],
      [Buffer.from(good), "gzip, gzip", 415],
    ];
    for (const [bytes, encoding, expected] of cases) {
      const headers = { "content-encoding": encoding };
      const { status, body } = await post(spoor.otlpHttp, Uint8Array.from(bytes), headers);
      expect([encoding, status]).toEqual([encoding, expected]);
      expect(body.length).toBeGreaterThan(0);
    }
  });

  it("of another type, method or path", async () => {
    const url = `${spoor.otlpHttp}/v1/traces`;
    const body = requestOf(makeTrace(1));
    expect((await post(spoor.otlpHttp, body, { "content-type": "text/plain" })).status).toBe(415);
    expect((await fetch(url)).status).toBe(405);
    expect((await fetch(url, { method: "DELETE" })).status).toBe(405);
    expect((await fetch(`${spoor.otlpHttp}/v1/metrics`, { method: "POST", body })).status).toBe(
      404,
    );
    expect((await fetch(`${spoor.otlpHttp}/../../etc/passwd`)).status).toBe(404);
  });
});

describe("OTLP/HTTP, JSON", { timeout }, () => {
  const json = { "content-type": "application/json" };
  const span = (fields: string): string =>
    `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"${"0a".repeat(16)}","spanId":"${"0b".repeat(8)}"${fields}}]}]}]}`;

  it("mutations: taken, or refused with a Status in JSON", async () => {
    const random = seededRandom(seed);
    const source = Buffer.from(
      span(',"name":"x","attributes":[{"key":"a","value":{"intValue":"5"}}]'),
    );
    let refused = 0;
    for (let i = 0; i < 300; i++) {
      const { status, headers, body } = await post(spoor.otlpHttp, mutate(random, source), json);
      expect([200, 400]).toContain(status);
      expect(headers.get("content-type")).toBe("application/json");
      const answer = JSON.parse(body.toString()) as { code?: number; message?: string };
      if (status === 200) continue;
      refused++;
      expect(answer).toMatchObject({ code: 3, message: expect.stringMatching(/.{5}/) as string });
    }
    expect(refused).toBeGreaterThan(100);
  });

  it.each([
    ["empty", ""],
    ["a number", "5"],
    ["an array", "[]"],
    ["nested 100,000 deep", "[".repeat(100_000)],
    ["objects nested 20,000 deep", '{"a":'.repeat(20_000)],
    [
      "nested values",
      span(
        `,"attributes":[{"key":"k","value":${'{"arrayValue":{"values":['.repeat(500)}${"]}}".repeat(500)}}]`,
      ),
    ],
    ["a number for a list", '{"resourceSpans":5}'],
    ["an id of letters", '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}'],
    ["an integer of 400 digits", span(`,"startTimeUnixNano":"${"9".repeat(400)}"`)],
    ["half a surrogate and a bad escape", span(',"name":"\\ud800\\x"')],
    ["bytes that are no UTF-8", "\u00ff\u00fe"],
  ])("%s is refused", async (_, text) => {
    const { status, body } = await post(
      spoor.otlpHttp,
      Uint8Array.from(Buffer.from(text, "latin1")),
      json,
    );
    expect(status).toBe(400);
    expect(JSON.parse(body.toString())).toMatchObject({ code: 3 });
  });

  it("names of JavaScript's own objects are only names", async () => {
    const attributes = ["__proto__", "constructor", "toString", "hasOwnProperty"]
      .map((key) => `{"key":"${key}","value":{"stringValue":"${key}"}}`)
      .join(",");
    const traceId = randomBytes(16).toString("hex");
    const text = span(`,"__proto__":{"x":1},"constructor":5,"attributes":[${attributes}]`).replace(
      "0a".repeat(16),
      traceId,
    );
    const { status, body } = await post(spoor.otlpHttp, text, json);
    expect([status, body.toString()]).toEqual([200, "{}"]);
    await eventually(async () => (await find(spoor.address, traceId)).status === 200);
    const { text: found } = await find(spoor.address, traceId);
    for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect(found).toContain(`"key":"${key}"`);
    }
  });
});

describe("OTLP/gRPC", { timeout }, () => {
  async function stream(
    bytes: Uint8Array,
    headers: Record<string, string | undefined> = {},
  ): Promise<StreamAnswer> {
    const session = connectHttp2(spoor.otlpGrpc);
    try {
      return await sendStream(session, bytes, headers);
    } finally {
      session.destroy();
    }
  }

  const statusOf = ({ headers, trailers }: StreamAnswer): number =>
    Number(trailers["grpc-status"] ?? headers["grpc-status"]);

  it("mutated frames get a grpc-status", async () => {
    const random = seededRandom(seed);
    const source = frameMessage(Buffer.from(requestOf(makeTrace(3))));
    let refused = 0;
    for (let i = 0; i < 150; i++) {
      const answer = await stream(mutate(random, source));
      const status = statusOf(answer);
      // OK; INVALID_ARGUMENT; RESOURCE_EXHAUSTED; UNIMPLEMENTED; INTERNAL (bad frames).
      expect([0, 3, 8, 12, 13]).toContain(status);
      if (status !== 0) refused++;
    }
    expect(refused).toBeGreaterThan(30);
  });

  it.each([
    ["no frame", Buffer.alloc(0), {}],
    ["half a header", Buffer.from([0, 0, 0]), {}],
    ["a length of 4 GiB", Buffer.from([0, 0xff, 0xff, 0xff, 0xff]), {}],
    ["compressed without an encoding", Buffer.from([1, 0, 0, 0, 1, 9]), {}],
    [
      "compressed bytes that are none",
      Buffer.from([1, 0, 0, 0, 1, 9]),
      { "grpc-encoding": "gzip" },
    ],
    ["an unknown encoding", Buffer.from([1, 0, 0, 0, 1, 9]), { "grpc-encoding": "br" }],
    ["an unknown flag", Buffer.from([7, 0, 0, 0, 0]), {}],
    ["two messages", Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), {}],
    ["too large", frameMessage(Buffer.alloc(bodyBytesMax + 1)), {}],
    ["an unknown method", frameMessage(Buffer.alloc(0)), { ":path": "/a.B/C" }],
    ["a bad timeout", frameMessage(Buffer.alloc(0)), { "grpc-timeout": "soon" }],
  ])("%s", async (_, bytes, headers) => {
    const answer = await stream(bytes, headers);
    expect(statusOf(answer)).toBeGreaterThan(0);
    const message = answer.trailers["grpc-message"] ?? answer.headers["grpc-message"];
    expect(String(message).length).toBeGreaterThan(5);
  });

  it("bytes that are no HTTP/2", async () => {
    for (const bytes of [randomBytes(500), Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")]) {
      const socket = await openSocket(Number(new URL(spoor.otlpGrpc).port));
      socket.write(bytes);
      // The server ends the connection.
      await readAll(socket);
    }
  });
});

describe("the query API", { timeout }, () => {
  it.each([
    ["/api/traces/xyz", 400],
    ["/api/traces/%00", 400],
    ["/api/traces/%zz", 400],
    ["/api/traces/%", 400],
    [`/api/traces/${"a".repeat(33)}`, 400],
    [`/api/v2/traces/${"0".repeat(5000)}`, 400],
    ["/api/traces/..%2f..%2fetc%2fpasswd", 400],
    ["/api/v2/traces/aa?start=5", 404],
    ["/api/v2/traces/aa?start=5&end=4", 400],
    ["/api/v2/traces/aa?start=10&end=5", 400],
    ["/api/v2/traces/aa?mode=other", 400],
    ["/api/v2/traces/aa", 404],
    ["/api/search?limit=-1", 400],
    ["/api/search?limit=0", 400],
    ["/api/search?limit=99999999", 400],
    ["/api/search?limit=NaN", 400],
    ["/api/search?limit=1e3", 400],
    ["/api/search?spss=4294967296", 400],
    ["/api/search?start=abc&end=def", 400],
    ["/api/search?start=99999999999999999999&end=1", 400],
    ["/api/search?start=-5&end=1", 400],
    ["/api/search?q=%7B%20.a%20%3D%20", 400],
    [`/api/search?q=${"%7B".repeat(4000)}`, 400],
    ["/api/search?q=%7B%7D&tags=a%3Db", 400],
    ["/api/search?q=%FF%FE%00", 400],
    ["/api/nothing", 404],
    ["/../../etc/passwd", 404],
    ["/constructor", 404],
  ])("%s is %i with a text", async (path, expected) => {
    const response = await fetch(`${spoor.address}${path}`);
    const text = await response.text();
    expect([response.status, text]).toEqual([expected, text]);
    expect(response.headers.get("content-type")).toContain("text/plain");
    expect(text.length).toBeGreaterThan(5);
    expect(text).not.toMatch(/\n\s+at |node:|\.ts:/);
  });

  it("bytes that are no HTTP, headers without end, bodies that nobody asked for", async () => {
    const port = Number(new URL(spoor.address).port);
    const head = "GET /api/search HTTP/1.1\r\nHost: x\r\n";
    for (const text of [
      "GARBAGE\r\n\r\n",
      "GET /api/search HTTP/9.9\r\nHost: x\r\n\r\n",
      `${head}Content-Length: 5\r\nContent-Length: 6\r\n\r\n`,
      `${head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n`,
      `${head}X: ${"y".repeat(600_000)}\r\n\r\n`,
      `${head}X-Scope-OrgID: a\u0000b\r\n\r\n`,
    ]) {
      const socket = await openSocket(port);
      socket.write(text, "latin1");
      expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 4\d\d /);
    }
    const socket = await openSocket(port);
    socket.write(randomBytes(4000));
    await readAll(socket);
    const big = await fetch(`${spoor.address}/api/search`, {
      method: "POST",
      body: new Uint8Array(1024 * 1024),
    });
    expect(big.status).toBeLessThan(500);
    await big.arrayBuffer();
  });
});

describe("the config file", { timeout }, () => {
  it.each([
    [
      "an anchor bomb",
      `a: &a [x,x,x,x,x,x,x,x,x]\n${"bcdefghij"
        .split("")
        .map((name, i) => `${name}: &${name} [${`*${"abcdefghi"[i]},`.repeat(9)}]`)
        .join("\n")}\n`,
    ],
    ["nested 100,000 deep", "[".repeat(100_000)],
    ["over 1 MiB", `# ${"x".repeat(1024 * 1024)}\n`],
    ["two documents", "server: {}\n---\nserver: {}\n"],
    ["a key twice", "server: {shutdown: 1s}\nserver: {shutdown: 2s}\n"],
    ["a list", "- 1\n- 2\n"],
    ["a variable that is not set", "server: {data_dir: ${SPOOR_TEST_NOT_SET}}\n"],
    ["__proto__", "__proto__: {polluted: true}\n"],
    ["a tag", "server: !!js/function 'x'\n"],
  ])("%s is refused before anything is touched", async (_, config) => {
    const dataDir = join(dir, `config-${randomBytes(4).toString("hex")}`);
    await mkdir(dataDir);
    const io = recordIo({ "spoor.yaml": config });
    const code = await runCli(["serve", "--config", "spoor.yaml", "--data-dir", dataDir], io);
    expect(io.stderr).toMatch(/^spoor: /);
    expect(io.stderr).not.toMatch(/\n\s+at /);
    expect([1, 2]).toContain(code);
    expect(io.stdout).toBe("");
    expect(await readdir(dataDir)).toEqual([]);
  });

  it("that is a folder, or no text, or missing", async () => {
    const binary = join(dir, "binary.yaml");
    await writeFile(binary, randomBytes(2000));
    for (const path of [dir, binary, join(dir, "missing.yaml")]) {
      const run = await runSpoor(["serve", "--config", path, "--data-dir", join(dir, "unused")]);
      expect(run.stderr).toContain(path);
      expect([1, 2]).toContain(run.code);
    }
  });
});
