/** The real binary from start to end: refused starts, stops, and kept data. */
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { runCli } from "#cmd/spoor/cli.ts";
import { recordIo } from "#cmd/spoor/spoor.testing.ts";
import { seededRandom } from "#integration/bench/dataset.ts";
import { CrashClient } from "#integration/crash/client.ts";
import {
  asTenant,
  eventually,
  find,
  makeTrace,
  metric,
  post,
  requestOf,
  send,
  spanIdsOf,
} from "#integration/parts/spans.ts";
import {
  adminToken,
  runServe,
  runSpoor,
  type SpoorProcess,
  type SpoorProcessOptions,
  startSpoorProcess,
} from "#integration/parts/spoor.ts";
import { readStored } from "#integration/parts/stored.ts";
import { callGrpc, openClient } from "#modules/receivers/client.testing.ts";

/** Timeout of tests that start a process several times, on a machine that may be busy. */
const timeout = 120_000;
/** These tests do not depend on the machine's free disk space. */
const roomy = "span_log: {free_bytes_min: 1MiB, partition_count: 2}\nquerier: {threads: 1}\n";

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function makeDataDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-lifecycle-"));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  const dataDir = join(dir, "data");
  await mkdir(dataDir);
  return dataDir;
}

async function start(options: SpoorProcessOptions): Promise<SpoorProcess> {
  const spoor = await startSpoorProcess({ ...options, config: options.config ?? roomy });
  cleanups.push(() => spoor.kill());
  return spoor;
}

async function startReady(options: SpoorProcessOptions): Promise<SpoorProcess> {
  const spoor = await start(options);
  await spoor.ready();
  return spoor;
}

/** Blocks writes of the single tenant's blocks until the returned function is called. */
async function obstructBlocks(dataDir: string): Promise<() => Promise<void>> {
  const tenantDir = join(dataDir, "bucket", "single-tenant");
  await mkdir(tenantDir, { recursive: true });
  const blocks = join(tenantDir, "blocks");
  const hasBlocks = (await readdir(tenantDir)).includes("blocks");
  if (hasBlocks) await rename(blocks, `${blocks}-away`);
  await writeFile(blocks, "in the way");
  return async () => {
    await rm(blocks);
    if (hasBlocks) await rename(`${blocks}-away`, blocks);
  };
}

function largeTraces(count: number): ReturnType<typeof makeTrace>[] {
  return Array.from({ length: count }, (_, i) =>
    makeTrace(1, { attributes: { filler: `${i}`.padEnd(3000, "x") } }),
  );
}

describe("start", { timeout }, () => {
  it("prints the ports that it took, and answers on them", async () => {
    const spoor = await startReady({ dataDir: await makeDataDir() });
    for (const address of [spoor.address, spoor.otlpHttp, spoor.otlpGrpc]) {
      expect(Number(new URL(address).port)).toBeGreaterThan(0);
    }
    const trace = makeTrace(3);
    await send(spoor.otlpHttp, trace);
    await eventually(async () => (await find(spoor.address, trace[0].traceId)).status === 200);
    expect((await find(spoor.address, trace[0].traceId)).spanIds).toEqual(spanIdsOf(trace));
    const get = async (path: string): Promise<string> => {
      const response = await fetch(`${spoor.address}${path}`);
      expect(response.status).toBe(200);
      return await response.text();
    };
    expect(await get("/api/echo")).toBe("echo\n");
    expect(JSON.parse(await get("/api/status/buildinfo"))).toHaveProperty("version");
    expect(await get("/config")).toContain("free_bytes_min: 1MiB");
    expect(await get("/metrics")).toMatch(/^spoor_distributor_spans_total\{.*\} 3$/m);
    expect(await metric(spoor.address, "spoor_ingester_head_spans")).toBe(3);
    expect(await get("/")).toContain("<h2>Partitions</h2>");
    expect(await spoor.stop()).toBe(0);
  });

  it("is not ready, and says what queries lack, until the log was read again", async () => {
    const dataDir = await makeDataDir();
    const first = await startReady({ dataDir });
    const traces = largeTraces(400);
    for (let i = 0; i < traces.length; i += 10) {
      await send(first.otlpHttp, traces.slice(i, i + 10).flat());
    }
    await first.kill();
    // With little memory for heads, and unable to store them, the start cannot finish.
    const release = await obstructBlocks(dataDir);
    const config = `${roomy}ingester: {head_bytes_max: 512KiB, read_bytes: 16KiB}\n`;
    const second = await start({ dataDir, config });
    expect((await fetch(`${second.address}/ready`)).status).toBe(503);
    const { partial } = await find(second.address, traces[399][0].traceId);
    expect(partial ?? "").toMatch(/log records are not readable yet/);
    await release();
    await second.ready();
    for (const trace of [traces[0], traces[200], traces[399]]) {
      const found = await find(second.address, trace[0].traceId);
      expect(found).toMatchObject({ status: 200, partial: undefined, spanIds: spanIdsOf(trace) });
    }
    expect(await second.stop()).toBe(0);
  });

  it("is refused beside another one on its port or its folder, and harms nothing", async () => {
    const firstDir = await makeDataDir();
    const first = await startReady({ dataDir: firstDir });
    const { port } = new URL(first.address);
    const dataDir = await makeDataDir();
    const refused = await runServe({ dataDir, config: roomy, args: ["--http-port", port] });
    expect(refused.code).toBe(1);
    // The error names the flag and the process.
    const holder = `by \\S+ \\(pid ${first.pid}\\)`;
    const text = `^spoor: port ${port} is taken ${holder}: .* another one with --http-port$`;
    expect(refused.stderr).toMatch(new RegExp(text, "m"));
    const taken = new URL(first.otlpHttp).port;
    const run = await runServe({ dataDir, config: roomy, args: ["--otlp-http-port", taken] });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(taken);
    const second = await runServe({ dataDir: firstDir, config: roomy });
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/^spoor: cannot lock the data folder .*another process uses it/m);
    const trace = makeTrace(2);
    await send(first.otlpHttp, trace);
    expect(await first.stop()).toBe(0);
    expect((await readStored(firstDir)).counts.size).toBe(2);
    // The process that was refused its ports has released its folder.
    const spoor = await startReady({ dataDir });
    expect(await spoor.stop()).toBe(0);
  });

  it.each([
    ["span_log: {free_bytes_min: lots}", /span_log\.free_bytes_min/],
    ["compactor: {interval: 5}", /compactor\.interval/],
    ["server: [1, 2]", /server/],
    ["a: b: c", /./],
    ["frontend: {queries_max: 0}", /frontend\.queries_max/],
    ["\u0000\u0001\u0002", /./],
  ])("is refused with exit code 2 for the config %j", async (config, message) => {
    const dataDir = await makeDataDir();
    const io = recordIo({ "spoor.yaml": config });
    const code = await runCli(["serve", "--config", "spoor.yaml", "--data-dir", dataDir], io);
    expect(code).toBe(2);
    expect(io.stderr).toMatch(message);
    expect(io.stderr).toMatch(/^spoor: /);
    expect(await readdir(dataDir)).toEqual([]);
  });

  it("of the binary with a wrong config exits with 2, and touches nothing", async () => {
    const dataDir = await makeDataDir();
    const run = await runServe({ dataDir, config: "ingester: {cut_spanz: 5}" });
    expect(run.code).toBe(2);
    expect(run.stderr).toMatch(/^spoor: .*ingester\.cut_spanz/);
    expect(await readdir(dataDir)).toEqual([]);
  });

  it("of no known command exits with 2", async () => {
    expect(await runSpoor(["serv"])).toMatchObject({ code: 2 });
  });
});

describe("stop", { timeout }, () => {
  it.each(["SIGTERM", "SIGINT"] as const)(
    "%s under load: all acknowledged is in blocks",
    async (name) => {
      const dataDir = await makeDataDir();
      const spoor = await startReady({ dataDir });
      const client = new CrashClient(seededRandom(7));
      const load = new AbortController();
      const running = client.run(spoor.otlpHttp, 8, load.signal);
      await eventually(async () => client.acknowledged.length > 300);
      spoor.signal(name);
      expect(await spoor.exited).toBe(0);
      load.abort();
      await running;
      const { counts } = await readStored(dataDir);
      const sent = client.acknowledged.flatMap(({ traceId, spanIds }) =>
        spanIds.map((spanId) => `${traceId}/${spanId}`),
      );
      expect(sent.filter((id) => counts.get(id) !== 1)).toEqual([]);
      expect([...counts.values()].filter((count) => count > 1)).toEqual([]);
    },
  );

  it("early, in vain or twice: nothing is lost, whatever the ends of three lives", async () => {
    const dataDir = await makeDataDir();
    const first = await startReady({ dataDir });
    const release = await obstructBlocks(dataDir);
    const traces = Array.from({ length: 20 }, () => makeTrace(3));
    await send(first.otlpHttp, traces.flat());
    // A second signal ends it at once.
    first.signal("SIGTERM");
    await eventually(async () => first.log().includes('"stopping"'));
    first.signal("SIGINT");
    expect(await first.exited).toBe(143);

    // Nothing can be stored within the shutdown time.
    const second = await startReady({ dataDir, config: `${roomy}server: {shutdown: 1s}\n` });
    for (const trace of traces) {
      expect((await find(second.address, trace[0].traceId)).spanIds).toEqual(spanIdsOf(trace));
    }
    expect(await second.stop()).toBe(3);
    expect(second.log()).toContain("some spans are only in the log");
    await release();

    // Stopped before it is ready, with a long shutdown time.
    const third = await start({ dataDir });
    expect(await third.stop()).toBe(0);
    const { counts } = await readStored(dataDir);
    expect([...counts.keys()].sort()).toEqual(
      traces
        .flat()
        .map(({ traceId, spanId }) => `${traceId}/${spanId}`)
        .sort(),
    );
    expect([...counts.values()].every((count) => count === 1)).toBe(true);
  });
});

describe("limits", { timeout }, () => {
  it("a full disk: clients must retry, and are served when there is space again", async () => {
    const dataDir = await makeDataDir();
    const full = await startReady({ dataDir, config: roomy.replace("1MiB", "1000000GiB") });
    const trace = makeTrace(2);
    const refused = await post(full.otlpHttp, requestOf(trace));
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(refused.body.toString()).toContain("bytes are free");
    const client = openClient(Number(new URL(full.otlpGrpc).port));
    const error = await callGrpc(client, { body: Buffer.from(requestOf(trace)) }).then(
      () => undefined,
      (thrown: { code: number; details: string }) => thrown,
    );
    client.close();
    expect(error).toMatchObject({ code: 14 });
    expect(error!.details).toContain("bytes are free");
    expect(await metric(full.address, "spoor_distributor_refused_requests_total")).toBe(2);
    expect((await find(full.address, trace[0].traceId)).status).toBe(404);
    expect(await full.stop()).toBe(0);
    const roomyAgain = await startReady({ dataDir });
    await send(roomyAgain.otlpHttp, trace);
    expect(await roomyAgain.stop()).toBe(0);
    expect((await readStored(dataDir)).counts.size).toBe(2);
  });

  it("retention removes blocks and their objects", async () => {
    const dataDir = await makeDataDir();
    const config =
      `${roomy}ingester: {cut_age: 200ms}\n` +
      "compactor: {interval: 200ms, block_retention: 500ms, delete_grace: 1ms}\n";
    const spoor = await startReady({ dataDir, config });
    const trace = makeTrace(3);
    await send(spoor.otlpHttp, trace);
    await eventually(
      async () => ((await metric(spoor.address, "spoor_ingester_blocks_total")) ?? 0) > 0,
    );
    await eventually(async () => (await find(spoor.address, trace[0].traceId)).status === 404);
    const blocks = join(dataDir, "bucket", "single-tenant", "blocks");
    await eventually(async () => {
      const entries = await readdir(blocks, { recursive: true, withFileTypes: true }).catch(
        () => [],
      );
      return !entries.some((entry) => entry.isFile());
    });
    expect(await spoor.stop()).toBe(0);
    expect((await readStored(dataDir)).blocks).toBe(0);
  });
});

describe("tenants", { timeout }, () => {
  it("see their own spans only, live and stored; without a name nothing is served", async () => {
    const dataDir = await makeDataDir();
    const config = `${roomy}server: {multitenancy: true, admin_token: ${adminToken}}\n`;
    const first = await startReady({ dataDir, config });
    const traces = { a: makeTrace(2), b: makeTrace(3) };
    // The same id for both: still two traces.
    const shared = makeTrace(1);
    for (const tenant of ["a", "b"] as const) {
      await send(first.otlpHttp, traces[tenant], tenant);
      await send(
        first.otlpHttp,
        shared.map((span) => ({ ...span, name: tenant })),
        tenant,
      );
    }
    expect((await post(first.otlpHttp, requestOf(shared))).status).toBe(401);
    expect((await post(first.otlpHttp, requestOf(shared), asTenant("../a"))).status).toBe(400);
    expect((await find(first.address, shared[0].traceId)).status).toBe(401);
    expect((await fetch(`${first.address}/api/search`)).status).toBe(401);
    const client = openClient(Number(new URL(first.otlpGrpc).port));
    await expect(callGrpc(client, { body: Buffer.from(requestOf(shared)) })).rejects.toMatchObject({
      code: 16,
    });
    client.close();
    const check = async (spoor: SpoorProcess): Promise<void> => {
      // Each partition is read at its own pace.
      for (const tenant of ["a", "b"] as const) {
        for (const [{ traceId }] of [traces[tenant], shared]) {
          await eventually(async () => (await find(spoor.address, traceId, tenant)).status === 200);
        }
      }
      for (const [tenant, other] of [
        ["a", "b"],
        ["b", "a"],
      ] as const) {
        const own = await find(spoor.address, traces[tenant][0].traceId, tenant);
        expect(own.spanIds).toEqual(spanIdsOf(traces[tenant]));
        const foreign = await find(spoor.address, traces[tenant][0].traceId, other);
        expect(foreign.status).toBe(404);
        const both = await find(spoor.address, shared[0].traceId, tenant);
        expect(both.text).toContain(`"name":"${tenant}"`);
        expect(both.spanIds).toHaveLength(1);
        const search = await fetch(`${spoor.address}/api/search?limit=100`, {
          headers: asTenant(tenant),
        });
        const text = await search.text();
        expect(text).toContain(traces[tenant][0].traceId);
        expect(text).not.toContain(traces[other][0].traceId);
      }
    };
    await check(first);
    expect(await first.stop()).toBe(0);
    const second = await startReady({ dataDir, config });
    await check(second);
    expect(await second.stop()).toBe(0);
    expect((await readStored(dataDir, "a")).counts.size).toBe(3);
    expect((await readStored(dataDir, "b")).counts.size).toBe(4);
  });
});
