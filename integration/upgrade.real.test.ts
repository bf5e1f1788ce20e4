/**
 * This version opens data folders of earlier versions: log, records not yet in a head, table,
 * blocks, request keys. `UPDATE=1` rewrites this version's folder; those of released versions stay.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { crc32 } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openHttpSender } from "#cmd/spoor/send/http-sender.ts";
import {
  adminToken,
  runServe,
  type SpoorProcess,
  startSpoorProcess,
} from "#integration/parts/spoor.ts";
import { readStored } from "#integration/parts/stored.ts";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { makeKnownTrace } from "#pkg/loadgen/known-trace.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";

const golden = "testdata/data-folder";
const written = "v0.1-log2";
const tenants = ["single", "other"];

interface GoldenTrace {
  tenant: string;
  traceId: string;
  startSeconds: number;
  rootName: string;
  /** Canonical text of each span. */
  spans: string[];
}

/** Small segments, so that the log has several and removes some. */
const config = `
server: {multitenancy: true, admin_token: ${adminToken}}
span_log: {partition_count: 2, segment_bytes_max: 8KiB, free_bytes_min: 0B}
compactor: {block_retention: 36500d}
querier: {threads: 1}
`;

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-upgrade-"));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

async function send(spoor: SpoorProcess, tenant: string, number: number): Promise<GoldenTrace> {
  const known = makeKnownTrace({ seed: 7, number, startMs: Date.now() });
  const endpoint = new URL(spoor.otlpHttp);
  const sender = openHttpSender({ endpoint, tenant, inFlightMax: 1 });
  for (const body of known.requests) expect((await sender.send(body)).kind).toBe("stored");
  sender.close();
  const resourceSpans = known.requests.flatMap((body) => decodeTraceData(body).resourceSpans);
  return {
    tenant,
    traceId: known.traceId,
    startSeconds: Number(known.startNano / 1_000_000_000n),
    rootName: known.rootName,
    spans: canonicalSpans({ resourceSpans }),
  };
}

/** Makes a data folder: some traces in blocks, the last ones only in the log after a kill. */
async function update(): Promise<void> {
  const dataDir = join(dir, "data");
  const traces: GoldenTrace[] = [];
  const sendAll = async (spoor: SpoorProcess, from: number, to: number): Promise<void> => {
    for (let i = from; i < to; i++) traces.push(await send(spoor, tenants[i % 2], i));
  };
  for (const range of [
    [0, 6],
    [6, 10],
  ]) {
    const spoor = await startSpoorProcess({ dataDir, config });
    await spoor.ready();
    await sendAll(spoor, range[0], range[1]);
    expect(await spoor.stop()).toBe(0);
  }
  const last = await startSpoorProcess({ dataDir, config });
  await last.ready();
  await sendAll(last, 10, 14);
  await last.kill();
  const folder = join(golden, written);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // These files name the machine that owns the folder.
  for (const name of ["lock", "lock-owner"]) rmSync(join(dataDir, name), { recursive: true });
  cpSync(dataDir, join(folder, "data"), { recursive: true });
  writeFileSync(join(folder, "traces.json"), `${JSON.stringify(traces, undefined, 1)}\n`);
}

async function get(spoor: SpoorProcess, tenant: string, path: string): Promise<Response> {
  return await fetch(`${spoor.address}${path}`, {
    headers: { "X-Scope-OrgID": tenant, accept: "application/protobuf, application/json" },
  });
}

async function checkAll(spoor: SpoorProcess, traces: readonly GoldenTrace[]): Promise<void> {
  for (const { tenant, traceId, spans, startSeconds, rootName } of traces) {
    const response = await get(spoor, tenant, `/api/traces/${traceId}`);
    expect(response.status).toBe(200);
    const { resourceSpans } = decodeTraceData(new Uint8Array(await response.arrayBuffer()));
    expect(canonicalSpans({ resourceSpans })).toEqual(spans);
    const q = encodeURIComponent(`{ name = "${rootName}" && span.spoor.verify.id =~ ".*" }`);
    const range = `start=${startSeconds - 1}&end=${startSeconds + 5}`;
    const found = await get(spoor, tenant, `/api/search?q=${q}&limit=100&${range}`);
    expect(found.headers.get("x-spoor-partial")).toBeNull();
    expect(await found.text()).toContain(traceId);
  }
}

/** Returns how many spans of the trace the server finds. */
async function countSpans(spoor: SpoorProcess, { tenant, traceId }: GoldenTrace): Promise<number> {
  const response = await get(spoor, tenant, `/api/traces/${traceId}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  return response.status === 200 ? canonicalSpans(decodeTraceData(bytes)).length : 0;
}

function copyOf(version: string): { dataDir: string; traces: GoldenTrace[] } {
  const dataDir = join(dir, "data");
  cpSync(join(golden, version, "data"), dataDir, { recursive: true });
  const text = readFileSync(join(golden, version, "traces.json"), "utf8");
  return { dataDir, traces: JSON.parse(text) as GoldenTrace[] };
}

const versions = existsSync(golden)
  ? readdirSync(golden).filter((name) => name.startsWith("v"))
  : [];

describe.each(versions)("a data folder of %s", (version) => {
  test.runIf(process.env["UPDATE"] !== "1")("opens, answers, and goes on", async () => {
    const { dataDir, traces } = copyOf(version);
    const spoor = await startSpoorProcess({ dataDir, config });
    await spoor.ready();
    await checkAll(spoor, traces);
    const more = [await send(spoor, "single", 1000), await send(spoor, "new", 1001)];
    // Acknowledged spans become visible shortly after, one request of a trace after the other.
    for (const trace of more) {
      await expect.poll(() => countSpans(spoor, trace)).toBe(trace.spans.length);
    }
    await checkAll(spoor, more);
    expect(await spoor.stop()).toBe(0);
    // Every span is now in exactly one block.
    for (const tenant of [...tenants, "new"]) {
      const { counts } = await readStored(dataDir, tenant);
      const own = [...traces, ...more].filter((one) => one.tenant === tenant);
      expect(counts.size).toBe(own.reduce((sum, { spans }) => sum + spans.length, 0));
      expect([...counts.values()].filter((count) => count !== 1)).toEqual([]);
    }
    const again = await startSpoorProcess({ dataDir, config });
    await again.ready();
    await checkAll(again, [...traces, ...more]);
    await again.kill();
  });
});

describe("a newer format", () => {
  /** Writes version 99 into a file of the log, with a valid checksum (FORMAT.md). */
  function patch(path: string): void {
    const bytes = readFileSync(path);
    bytes.writeUInt32LE(99, 8);
    if (path.endsWith(".seg")) bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60);
    else bytes.writeUInt32LE(crc32(bytes.subarray(20), crc32(bytes.subarray(0, 16))), 16);
    writeFileSync(path, bytes);
  }

  function fileIn(folder: string, pattern: RegExp): string {
    const name = readdirSync(folder, { recursive: true })
      .map(String)
      .find((one) => pattern.test(one));
    if (name === undefined) throw new Error(`nothing like ${String(pattern)} in ${folder}`);
    return join(folder, name);
  }

  test("of the log is refused at start, naming file and versions", async () => {
    for (const pattern of [/^p\d\/[\d-]+\.seg$/, /^p\d\/\d+\.ids$/]) {
      const { dataDir } = copyOf(written);
      patch(fileIn(join(dataDir, "log"), pattern));
      const { code, stderr } = await runServe({ dataDir, config });
      expect(code).toBe(1);
      expect(stderr).toMatch(/log format 99 is not one of the known formats 1 to 2/);
      rmSync(dataDir, { recursive: true });
    }
  });

  test("of the table is refused at start", async () => {
    const { dataDir } = copyOf(written);
    const first = fileIn(join(dataDir, "bucket", "single"), /_delta_log\/0+\.json$/);
    const text = readFileSync(first, "utf8");
    const newer = text.replace('"minReaderVersion":1', '"minReaderVersion":9');
    expect(newer).not.toBe(text);
    writeFileSync(first, newer);
    const { code, stderr } = await runServe({ dataDir, config });
    expect(code).toBe(1);
    expect(stderr).toMatch(/reader/i);
  });

  test("of a block is reported in every response that lacks it, and affects nothing else", async () => {
    const { dataDir, traces } = copyOf(written);
    const blocks = join(dataDir, "bucket", "single", "blocks");
    for (const name of readdirSync(blocks, { recursive: true }).map(String)) {
      if (!name.endsWith(".parquet")) continue;
      const bytes = readFileSync(join(blocks, name));
      const at = bytes.lastIndexOf("SPOORIDX");
      expect(at).toBeGreaterThan(0);
      bytes.writeUInt32LE(99, at - 8);
      bytes.writeUInt32LE(crc32(bytes.subarray(at - 40, at - 4)), at - 4);
      writeFileSync(join(blocks, name), bytes);
    }
    const spoor = await startSpoorProcess({ dataDir, config });
    await spoor.ready();
    await checkAll(
      spoor,
      traces.filter(({ tenant }) => tenant === "other"),
    );
    const [{ startSeconds }] = traces;
    const range = `start=${startSeconds - 60}&end=${startSeconds + 600}`;
    const answer = await get(spoor, "single", `/api/search?q=${encodeURIComponent("{}")}&${range}`);
    const said = `${answer.headers.get("x-spoor-partial")} ${await answer.text()}`;
    expect(said).toMatch(/version 99/);
    await spoor.kill();
  });
});

if (process.env["UPDATE"] === "1") test("writes the data folder of this version", update);
