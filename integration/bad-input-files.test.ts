/**
 * Broken files under the running binary and before its start: what is left is served and said to be
 * partial, or the start is refused with a text that names the file. Never a crash, never a wrong
 * answer that looks whole.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, inject } from "vitest";
import { seededRandom } from "#integration/bench/dataset.ts";
import {
  eventually,
  find,
  makeTrace,
  post,
  requestOf,
  send,
  spanIdsOf,
} from "#integration/parts/spans.ts";
import { runServe, type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import type { SpanSpec } from "#pkg/engine/testing.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";

const timeout = 180_000;
const config = "span_log: {free_bytes_min: 1MiB}\n";
/** For servers that may have a table to which they can store nothing. */
const impatient = `${config}server: {shutdown: 2s}\n`;

/**
 * A data folder with blocks and a log that is not empty, made once. Each life of its server ends
 * in at least one commit, so that its table has as many as there were lives.
 */
let base = "";
const lives = 3;
const stored: SpanSpec[][] = Array.from({ length: 9 }, () => makeTrace(3));
const inLog: SpanSpec[][] = Array.from({ length: 8 }, () => makeTrace(2));
/** The default. */
const partitionCount = 4;

const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "spoor-bad-files-"));
  const dataDir = join(base, "data");
  await mkdir(dataDir);
  for (let life = 0; life < lives; life++) {
    const spoor = await startSpoorProcess({ dataDir, config });
    await spoor.ready();
    const traces = stored.filter((_, i) => i % lives === life);
    for (const trace of traces) await send(spoor.otlpHttp, trace);
    expect(await spoor.stop()).toBe(0);
  }
  const last = await startSpoorProcess({ dataDir, config });
  await last.ready();
  for (const trace of inLog) await send(last.otlpHttp, trace);
  await last.kill();
}, timeout);

afterAll(async () => {
  await rm(base, { recursive: true, force: true });
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A copy of the data folder, to be broken. */
async function copyData(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-bad-files-"));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  const dataDir = join(dir, "data");
  await cp(join(base, "data"), dataDir, { recursive: true });
  return dataDir;
}

async function start(dataDir: string, yaml = config): Promise<SpoorProcess> {
  const spoor = await startSpoorProcess({ dataDir, config: yaml });
  cleanups.push(() => spoor.kill());
  await spoor.ready();
  return spoor;
}

/** Paths of files below a folder whose names match, in order. */
async function filesOf(folder: string, pattern: RegExp): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

const blockFiles = (dataDir: string): Promise<string[]> =>
  filesOf(join(dataDir, "bucket"), /\.parquet$/);
const commitFiles = (dataDir: string): Promise<string[]> =>
  filesOf(join(dataDir, "bucket", "single-tenant", "_delta_log"), /^\d{20}\.json$/);

async function flip(path: string, from: number, to: number): Promise<void> {
  const bytes = await readFile(path);
  for (let i = from; i < Math.min(to, bytes.length); i++) bytes[i] ^= 0x5a;
  await writeFile(path, bytes);
}

/** Takes and finds a good trace. */
async function checkServes(spoor: SpoorProcess): Promise<void> {
  const trace = makeTrace(2);
  await send(spoor.otlpHttp, trace);
  await eventually(async () => (await find(spoor.address, trace[0].traceId)).spanIds.length === 2);
  process.kill(spoor.pid, 0);
}

/**
 * Every trace is found whole, or its answer says that it is not: never a part of one, or none of
 * it, that passes for all. Returns how many answers were partial.
 */
async function checkHonest(spoor: SpoorProcess, traces: SpanSpec[][]): Promise<number> {
  let partial = 0;
  for (const trace of traces) {
    const found = await find(spoor.address, trace[0].traceId);
    expect(found.status).toBe(200);
    if (found.partial !== undefined) partial++;
    else expect(found.spanIds).toEqual(spanIdsOf(trace));
    const known = new Set(spanIdsOf(trace));
    expect(found.spanIds.filter((id) => !known.has(id))).toEqual([]);
  }
  return partial;
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

  it.each(breaks)("%s: the rest is found, and the answer names it", async (_, breakIt) => {
    const dataDir = await copyData();
    const paths = await blockFiles(dataDir);
    expect(paths.length).toBeGreaterThan(1);
    await breakIt(paths[0]);
    const spoor = await start(dataDir);
    const name = paths[0].slice(paths[0].lastIndexOf("/") + 1);
    const partial = await checkHonest(spoor, stored);
    expect(partial).toBeGreaterThan(0);
    expect(partial).toBeLessThan(stored.length);
    // The other shape of answer says it as well, in the way of its protocol.
    const search = await fetch(`${spoor.address}/api/search?limit=100`);
    expect(search.status).toBe(200);
    expect(search.headers.get("x-spoor-partial") ?? "").toContain(name);
    const { traces } = (await search.json()) as { traces: { traceID: string }[] };
    const ids = traces.map(({ traceID }) => traceID);
    for (const [trace] of inLog) expect(ids).toContain(trace.traceId);
    const unknown = await find(spoor.address, "ab".repeat(16));
    expect([200, 404]).toContain(unknown.status);
    await checkServes(spoor);
    expect(await spoor.stop()).toBe(0);
  });

  it("broken while the server runs: noticed at the next read of it", async () => {
    const dataDir = await copyData();
    const spoor = await start(dataDir);
    expect(await checkHonest(spoor, stored)).toBe(0);
    for (const path of await blockFiles(dataDir)) await flip(path, 0, Number.MAX_SAFE_INTEGER);
    await checkHonest(spoor, [...stored, ...inLog]);
    await checkServes(spoor);
    expect(await spoor.stop()).toBe(0);
  });
});

const firstCommit = "single-tenant/_delta_log/00000000000000000000.json";

/** Pushes and queries say why the tenant is not served; the process goes on. */
async function expectRefused(spoor: SpoorProcess, why: string): Promise<void> {
  const pushed = await post(spoor.otlpHttp, requestOf(makeTrace(1)));
  expect([pushed.status, pushed.body.toString()]).toEqual([503, expect.stringContaining(why)]);
  const response = await fetch(`${spoor.address}/api/v2/traces/${stored[0][0].traceId}`);
  const text = await response.text();
  expect(text).toContain(why);
  expect(text).not.toMatch(/\n\s+at /);
  expect((await fetch(`${spoor.address}/metrics`)).status).toBe(200);
}

describe("a table's commits", { timeout }, () => {
  it("of a newer format refuse the start and name the file", async () => {
    const dataDir = await copyData();
    const [path] = await commitFiles(dataDir);
    await writeFile(path, '{"protocol":{"minReaderVersion":99,"minWriterVersion":99}}\n');
    const run = await runServe({ dataDir, config });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(firstCommit);
    expect(run.stderr).not.toMatch(/\n\s+at /);
  });

  it("that are no JSON: the tenant is refused with the file's name until it is back", async () => {
    const dataDir = await copyData();
    const [path] = await commitFiles(dataDir);
    await writeFile(path, "{ this is not json");
    const spoor = await start(dataDir);
    await expectRefused(spoor, firstCommit);
    // Nothing was changed: with the old file back all is well, without a restart.
    await cp(join(base, "data", "bucket"), join(dataDir, "bucket"), { recursive: true });
    await eventually(
      async () => (await post(spoor.otlpHttp, requestOf(makeTrace(1)))).status === 200,
    );
    await spoor.ready();
    expect(await checkHonest(spoor, [...stored, ...inLog])).toBe(0);
    expect(await spoor.stop()).toBe(0);
  });

  it.each([
    ["of zero bytes", ""],
    ["of random bytes", randomBytes(300)],
    ["nested deep", "[".repeat(100_000)],
    [
      "with a path out of the bucket",
      '{"add":{"path":"../../../etc/passwd","size":1,"partitionValues":{},"modificationTime":1,"dataChange":true,"stats":"{\\"numRecords\\":1}","tags":{}}}\n',
    ],
  ])("%s: the tenant is refused with the file's name", async (_, content) => {
    const dataDir = await copyData();
    const [path] = await commitFiles(dataDir);
    await writeFile(path, content);
    const spoor = await start(dataDir);
    await expectRefused(spoor, firstCommit);
    await spoor.kill();
    // The file is as it was put there: nothing wrote over it.
    expect(await readFile(path)).toEqual(Buffer.from(content));
  });

  it.each([
    ["the first", 0, "the log begins at version 1, not 0"],
    ["one between two others", 1, "00000000000000000001.json"],
  ])("with %s missing: the tenant is refused, and it is named", async (_, index, expected) => {
    const dataDir = await copyData();
    const paths = await commitFiles(dataDir);
    expect(paths.length).toBeGreaterThan(index + 1);
    await rm(paths[index]);
    const spoor = await start(dataDir, impatient);
    await expectRefused(spoor, expected);
    // What the log has can go into no block.
    expect(await spoor.stop()).toBe(3);
  });

  it("of other bytes by chance: served honestly, or refused with the file's name", async () => {
    const random = seededRandom(7);
    for (let round = 0; round < 3 * inject("depth"); round++) {
      const dataDir = await copyData();
      const paths = await commitFiles(dataDir);
      const path = paths[Math.floor(random() * paths.length)];
      const bytes = await readFile(path);
      bytes[Math.floor(random() * bytes.length)] ^= 1 << Math.floor(random() * 7);
      await writeFile(path, bytes);
      const name = path.slice(path.indexOf("_delta_log"));
      const spoor = await start(dataDir, impatient).catch((error: Error) => error);
      if (spoor instanceof Error) {
        // The flip made a newer format of it.
        expect(spoor.message).toContain("spoor exited with code 1");
        expect(spoor.message).toContain(name);
        continue;
      }
      await expectRefused(spoor, name);
      expect(await spoor.stop()).toBe(3);
    }
  });
});

describe("the log", { timeout }, () => {
  it.each([
    ["log.json", "not json"],
    ["log.json", ""],
    ["log.json", '{"version":99}'],
  ])("with a %s of %j refuses the start and names it", async (name, content) => {
    const dataDir = await copyData();
    await writeFile(join(dataDir, "log", name), content);
    const run = await runServe({ dataDir, config });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(name);
    expect(run.stderr).not.toMatch(/\n\s+at /);
  });

  it("without the segments of a partition refuses the start and says what to do", async () => {
    const dataDir = await copyData();
    for (const path of await filesOf(join(dataDir, "log", "p0"), /\.seg$/)) await rm(path);
    const run = await runServe({ dataDir, config });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(join("log", "p0"));
    expect(run.stderr).toContain("segments are gone");
  });

  it("of another log's segments refuses the start", async () => {
    const dataDir = await copyData();
    const [from] = await filesOf(join(dataDir, "log", "p1"), /\.seg$/);
    const [to] = (await filesOf(join(dataDir, "log", "p0"), /\.seg$/)).slice(-1);
    await cp(from, to);
    const run = await runServe({ dataDir, config });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(to);
  });

  it("with a pipe in place of a segment refuses the start and names it", async () => {
    const dataDir = await copyData();
    const [segment] = await filesOf(join(dataDir, "log", "p0"), /\.seg$/);
    await rm(segment);
    execFileSync("mkfifo", [segment]);
    // A process that waited for a writer of the pipe would be deaf to signals, and never end.
    const run = await runServe({ dataDir, config });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(`open ${segment}: it is a pipe, not a regular file`);
  });

  it("that is gone while blocks stay: the loss stands in the log and on the page", async () => {
    const dataDir = await copyData();
    const ends = join(dataDir, "log-ends.json");
    const before = await readFile(ends, "utf8");
    const first = await start(dataDir);
    await first.ready();
    await send(first.otlpHttp, makeTrace(2));
    // It notes once a second how far the log is durable.
    await eventually(async () => (await readFile(ends, "utf8")) !== before);
    await first.kill();
    await rm(join(dataDir, "log"), { recursive: true });
    const spoor = await start(dataDir);
    await spoor.ready();
    expect(spoor.log()).toContain("acknowledged records were in no block");
    const page = await (await fetch(`${spoor.address}/`)).text();
    expect(page).toContain("Damage and losses of the span log");
    expect(page).toContain("acknowledged records were in no block");
    const json = { headers: { accept: "application/json" } };
    const status = await (await fetch(`${spoor.address}/status`, json)).text();
    expect(status).toContain("log_missing");
    expect(await checkHonest(spoor, stored)).toBe(0);
    await checkServes(spoor);
    expect(await spoor.stop()).toBe(0);
  });

  it("with damaged records: the others are served, and answers say what is lost", async () => {
    const dataDir = await copyData();
    const partition = ([{ traceId }]: SpanSpec[]): number =>
      partitionOf(Buffer.from(traceId, "hex"), 0, partitionCount);
    // More of the partition behind it, so that it is no torn end: of so many some share theirs.
    const victim = inLog.find((trace, i) =>
      inLog.slice(i + 1).some((later) => partition(later) === partition(trace)),
    )!;
    let broken = 0;
    for (const path of await filesOf(join(dataDir, "log"), /\.seg$/)) {
      const bytes = await readFile(path);
      const at = bytes.indexOf(Buffer.from(victim[0].traceId, "hex"));
      if (at < 0) continue;
      broken++;
      bytes[at] ^= 1;
      await writeFile(path, bytes);
    }
    expect(broken).toBe(1);
    const spoor = await start(dataDir);
    for (const trace of inLog.filter((one) => one !== victim)) {
      expect((await find(spoor.address, trace[0].traceId)).spanIds).toEqual(spanIdsOf(trace));
    }
    expect((await find(spoor.address, victim[0].traceId)).partial ?? "").toMatch(/damaged/);
    expect(await checkHonest(spoor, stored)).toBeGreaterThanOrEqual(0);
    await checkServes(spoor);
    expect(await spoor.stop()).toBe(0);
  });

  it("of other bytes by chance: it starts or says why, and never makes up spans", async () => {
    const random = seededRandom(11);
    for (let round = 0; round < 3 * inject("depth"); round++) {
      const dataDir = await copyData();
      const paths = await filesOf(join(dataDir, "log"), /./);
      const path = paths[Math.floor(random() * paths.length)];
      const { size } = await stat(path);
      const how = Math.floor(random() * 3);
      if (how === 0) await truncate(path, Math.floor(random() * size));
      else if (how === 1) await flip(path, Math.floor(random() * size), size);
      else await writeFile(path, randomBytes(size));
      const spoor = await start(dataDir).catch((error: Error) => error);
      if (spoor instanceof Error) {
        expect(spoor.message).toMatch(/exited with code 1/);
        expect(spoor.message).toContain(join(dataDir, "log"));
        expect(spoor.message).not.toMatch(/\n\s+at /);
        continue;
      }
      for (const trace of [...stored, ...inLog]) {
        const { spanIds } = await find(spoor.address, trace[0].traceId);
        expect(spanIdsOf(trace)).toEqual(expect.arrayContaining(spanIds));
      }
      await checkServes(spoor);
      expect(await spoor.stop()).toBe(0);
    }
  });
});
