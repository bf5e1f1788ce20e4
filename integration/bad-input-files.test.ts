/**
 * Broken blocks and tables, under the running binary and before its start. The rest is served as
 * partial, or the tenant is refused with an error that names the file. The server never crashes,
 * never returns a wrong result as complete, and other tenants are not affected. Each kind of damage
 * has a tenant of its own, so that one server covers all kinds.
 */
import { randomBytes } from "node:crypto";
import { cp, mkdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, inject } from "vitest";
import { seededRandom } from "#integration/bench/dataset.ts";
import {
  BrokenFolder,
  brokenFolderConfig,
  checkHonest,
  checkServes,
  filesOf,
  flip,
  impatientConfig,
  wholeTenant,
} from "#integration/parts/broken-folder.ts";
import {
  asTenant,
  eventually,
  find,
  makeTrace,
  post,
  requestOf,
  send,
} from "#integration/parts/spans.ts";
import {
  asAdmin,
  runServe,
  type SpoorProcess,
  startSpoorProcess,
} from "#integration/parts/spoor.ts";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";

const timeout = 180_000;

let broken: BrokenFolder;

beforeAll(async () => {
  broken = await BrokenFolder.make({ lives: 3 });
}, timeout);

afterAll(async () => {
  await broken[Symbol.asyncDispose]();
});

/** Makes a data folder in which each tenant has equal blocks, and a trace in the log. */
class TenantsFolder {
  readonly dataDir: string;
  readonly inLog = new Map<string, SpanSpec[]>();

  private constructor(dataDir: string) {
    this.dataDir = dataDir;
  }

  static async make(tenants: readonly string[]): Promise<TenantsFolder> {
    const folder = new TenantsFolder(await broken.copy());
    const bucket = join(folder.dataDir, "bucket");
    for (const tenant of tenants) {
      await cp(join(bucket, wholeTenant), join(bucket, tenant), { recursive: true });
    }
    const spoor = await folder.start();
    for (const tenant of tenants) {
      const trace = makeTrace(2);
      await send(spoor.otlpHttp, trace, tenant);
      folder.inLog.set(tenant, trace);
    }
    await spoor.kill();
    return folder;
  }

  async start(config: string = brokenFolderConfig): Promise<SpoorProcess> {
    const spoor = await startSpoorProcess({ dataDir: this.dataDir, config });
    await spoor.ready();
    return spoor;
  }

  async blocks(tenant: string): Promise<string[]> {
    return await filesOf(join(this.dataDir, "bucket", tenant, "blocks"), /\.parquet$/);
  }

  async commits(tenant: string): Promise<string[]> {
    return await filesOf(join(this.dataDir, "bucket", tenant, "_delta_log"), /^\d{20}\.json$/);
  }
}

describe("a block", { timeout }, () => {
  const breaks: [string, (path: string) => Promise<void>][] = [
    ["with flipped bytes in its columns", (path) => flip(path, 200, 260)],
    [
      "with flipped bytes in its footer",
      async (path) => {
        const { size } = await stat(path);
        await flip(path, size - 60, size - 8);
      },
    ],
    ["that is all flipped", (path) => flip(path, 0, Number.MAX_SAFE_INTEGER)],
    ["cut in half", async (path) => truncate(path, Math.floor((await stat(path)).size / 2))],
    ["that is empty", (path) => truncate(path, 0)],
    ["of other bytes", async (path) => writeFile(path, randomBytes((await stat(path)).size))],
    ["that is gone", (path) => rm(path)],
    [
      "that is a folder",
      async (path) => {
        await rm(path);
        await mkdir(path);
      },
    ],
  ];
  const tenantOf = (index: number): string => `block-${index}`;
  const cases = breaks.map(([how], index): [string, number] => [how, index]);

  let folder: TenantsFolder;
  let spoor: SpoorProcess;
  const names: string[] = [];

  beforeAll(async () => {
    folder = await TenantsFolder.make([...breaks.keys()].map(tenantOf).concat("later"));
    for (const [index, [, breakIt]] of breaks.entries()) {
      const paths = await folder.blocks(tenantOf(index));
      expect(paths.length).toBeGreaterThan(1);
      await breakIt(paths[0]);
      names.push(paths[0].slice(paths[0].lastIndexOf("/") + 1));
    }
    spoor = await folder.start();
  }, timeout);

  afterAll(async () => {
    await spoor.kill();
  });

  it.each(cases)("%s: the rest is found, and the answer names it", async (_, index) => {
    const tenant = tenantOf(index);
    const partial = await checkHonest(spoor, tenant, broken.stored);
    expect(partial).toBeGreaterThan(0);
    expect(partial).toBeLessThan(broken.stored.length);
    // The other response format reports it as well, by its protocol.
    const search = await fetch(`${spoor.address}/api/search?limit=100`, {
      headers: asTenant(tenant),
    });
    expect(search.status).toBe(200);
    expect(search.headers.get("x-spoor-partial") ?? "").toContain(names[index]);
    const { traces } = (await search.json()) as { traces: { traceID: string }[] };
    const [{ traceId }] = folder.inLog.get(tenant)!;
    expect(traces.map(({ traceID }) => traceID)).toContain(traceId);
    const unknown = await find(spoor.address, "ab".repeat(16), tenant);
    expect([200, 404]).toContain(unknown.status);
    await checkServes(spoor, tenant);
  });

  it("broken while the server runs: noticed at the next read of it", async () => {
    const { stored } = broken;
    expect(await checkHonest(spoor, "later", stored)).toBe(0);
    for (const path of await folder.blocks("later")) await flip(path, 0, Number.MAX_SAFE_INTEGER);
    await checkHonest(spoor, "later", [...stored, folder.inLog.get("later")!]);
    await checkServes(spoor, "later");
  });

  it("of some tenants is no trouble of another, nor of the stop", async () => {
    expect(await checkHonest(spoor, wholeTenant, [...broken.stored, ...broken.inLog])).toBe(0);
    expect(await spoor.stop()).toBe(0);
  });
});

const firstCommit = `_delta_log/${"0".repeat(20)}.json`;

describe("a table's commits", { timeout }, () => {
  it("of a newer format refuse the start and name the file", async () => {
    const dataDir = await broken.copy();
    const path = join(dataDir, "bucket", wholeTenant, firstCommit);
    await writeFile(path, '{"protocol":{"minReaderVersion":99,"minWriterVersion":99}}\n');
    const run = await runServe({ dataDir, config: brokenFolderConfig });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(`${wholeTenant}/${firstCommit}`);
    expect(run.stderr).not.toMatch(/\n\s+at /);
  });

  const contents: [string, string | Buffer][] = [
    ["that are no JSON", "{ this is not json"],
    ["of zero bytes", ""],
    ["of random bytes", randomBytes(300)],
    ["nested deep", "[".repeat(100_000)],
    [
      "with a path out of the bucket",
      '{"add":{"path":"../../../etc/passwd","size":1,"partitionValues":{},"modificationTime":1,"dataChange":true,"stats":"{\\"numRecords\\":1}","tags":{}}}\n',
    ],
  ];
  const contentOf = (index: number): string => `content-${index}`;
  const gaps: [string, string, number, string][] = [
    ["the first", "gap-0", 0, "the log begins at version 1, not 0"],
    ["one between two others", "gap-1", 1, "00000000000000000001.json"],
  ];
  const chances: readonly string[] = Array.from(
    { length: 3 * inject("depth") },
    (_, i) => `chance-${i}`,
  );

  let folder: TenantsFolder;
  let spoor: SpoorProcess;
  let whole: Buffer;
  const flipped = new Map<string, string>();

  /** Flips one bit of a commit and records its name. */
  async function flipOne(tenant: string, random: () => number): Promise<void> {
    const paths = await folder.commits(tenant);
    const path = paths[Math.floor(random() * paths.length)];
    const bytes = await readFile(path);
    bytes[Math.floor(random() * bytes.length)] ^= 1 << Math.floor(random() * 7);
    await writeFile(path, bytes);
    flipped.set(tenant, path.slice(path.indexOf("_delta_log")));
  }

  /** Removes the tenants whose tables look like a newer format, which refuses the start. */
  async function startSome(): Promise<SpoorProcess> {
    for (;;) {
      const started = await folder.start(impatientConfig).catch((error: Error) => error);
      if (!(started instanceof Error)) return started;
      expect(started.message).toContain("spoor exited with code 1");
      const guilty = [...flipped].find(([tenant, name]) =>
        started.message.includes(`${tenant}/${name}`),
      );
      expect(guilty, started.message).toBeDefined();
      flipped.delete(guilty![0]);
      await rm(join(folder.dataDir, "bucket", guilty![0]), { recursive: true });
    }
  }

  beforeAll(async () => {
    const gapTenants = gaps.map(([, tenant]) => tenant);
    const contentTenants = [...contents.keys()].map(contentOf);
    folder = await TenantsFolder.make([...contentTenants, ...gapTenants, ...chances]);
    for (const [index, [, content]] of contents.entries()) {
      const [path] = await folder.commits(contentOf(index));
      whole = await readFile(path);
      await writeFile(path, content);
    }
    for (const [, tenant, index] of gaps) {
      const paths = await folder.commits(tenant);
      expect(paths.length).toBeGreaterThan(index + 1);
      await rm(paths[index]);
    }
    const random = seededRandom(7);
    for (const tenant of chances) await flipOne(tenant, random);
    spoor = await startSome();
  }, timeout);

  afterAll(async () => {
    await spoor.kill();
  });

  /** Pushes and queries report why the tenant is not served; the process keeps running. */
  async function expectRefused(tenant: string, why: string): Promise<void> {
    const headers = asTenant(tenant);
    const pushed = await post(spoor.otlpHttp, requestOf(makeTrace(1)), headers);
    expect([pushed.status, pushed.body.toString()]).toEqual([503, expect.stringContaining(why)]);
    const url = `${spoor.address}/api/v2/traces/${broken.stored[0][0].traceId}`;
    const text = await (await fetch(url, { headers })).text();
    expect(text).toContain(why);
    expect(text).not.toMatch(/\n\s+at /);
    expect((await fetch(`${spoor.address}/metrics`, { headers: asAdmin })).status).toBe(200);
  }

  const cases = contents.map(([what], index): [string, string] => [what, contentOf(index)]);
  it.each(cases)("%s: the tenant is refused with the file's name", async (_, tenant) => {
    await expectRefused(tenant, `${tenant}/${firstCommit}`);
  });

  it.each(gaps)("with %s missing: the tenant is refused, and it is named", async (...gap) => {
    const [, tenant, , why] = gap;
    await expectRefused(tenant, why);
  });

  it("of other bytes by chance: the tenant is refused with the file's name", async () => {
    for (const [tenant, name] of flipped) await expectRefused(tenant, name);
  });

  it("that are broken are a trouble of their own tenant, and of nobody else", async () => {
    const pageOf = async (tenant: string): Promise<string> =>
      await (await fetch(`${spoor.address}/status`, { headers: asTenant(tenant) })).text();
    expect(await pageOf(contentOf(0))).toContain("Tenants that are not served");
    expect(await pageOf(wholeTenant)).not.toContain("not served");
    expect(await checkHonest(spoor, wholeTenant, [...broken.stored, ...broken.inLog])).toBe(0);
    await checkServes(spoor, wholeTenant);
  });

  it("that are whole again: the tenant is served, without a restart", async () => {
    const tenant = contentOf(0);
    const [path] = await folder.commits(tenant);
    await writeFile(path, whole);
    await eventually(async () => {
      const pushed = await post(spoor.otlpHttp, requestOf(makeTrace(1)), asTenant(tenant));
      return pushed.status === 200;
    });
    await spoor.ready();
    const traces = [...broken.stored, folder.inLog.get(tenant)!];
    expect(await checkHonest(spoor, tenant, traces)).toBe(0);
  });

  it("keep what the log has from its blocks: the stop says so, and writes over nothing", async () => {
    expect(await spoor.stop()).toBe(3);
    for (const [index, [, content]] of contents.entries()) {
      if (index === 0) continue;
      const [path] = await folder.commits(contentOf(index));
      expect(await readFile(path)).toEqual(Buffer.from(content));
    }
  });
});
