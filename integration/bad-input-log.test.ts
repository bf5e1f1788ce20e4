/** A log broken before the start of the binary: the rest is served, or the start is refused. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, inject } from "vitest";
import { seededRandom } from "#integration/bench/dataset.ts";
import {
  BrokenFolder,
  brokenFolderConfig,
  checkHonest,
  checkServes,
  filesOf,
  flip,
  partitionCount,
  wholeTenant,
} from "#integration/parts/broken-folder.ts";
import { eventually, find, makeTrace, send, spanIdsOf } from "#integration/parts/spans.ts";
import {
  asAdmin,
  runServe,
  type SpoorProcess,
  startSpoorProcess,
} from "#integration/parts/spoor.ts";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";

const timeout = 180_000;
let broken: BrokenFolder;
const running: SpoorProcess[] = [];

beforeAll(async () => {
  broken = await BrokenFolder.make({ lives: 1 });
}, timeout);

afterEach(async () => {
  for (const spoor of running.splice(0)) await spoor.kill();
});

afterAll(async () => {
  await broken[Symbol.asyncDispose]();
});

async function start(dataDir: string): Promise<SpoorProcess> {
  const spoor = await startSpoorProcess({ dataDir, config: brokenFolderConfig });
  running.push(spoor);
  await spoor.ready();
  return spoor;
}

describe("the log", { timeout }, () => {
  it.each([
    ["log.json", "not json"],
    ["log.json", ""],
    ["log.json", '{"version":99}'],
  ])("with a %s of %j refuses the start and names it", async (name, content) => {
    const dataDir = await broken.copy();
    await writeFile(join(dataDir, "log", name), content);
    const run = await runServe({ dataDir, config: brokenFolderConfig });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(name);
    expect(run.stderr).not.toMatch(/\n\s+at /);
  });

  it("without the segments of a partition refuses the start and says what to do", async () => {
    const dataDir = await broken.copy();
    for (const path of await filesOf(join(dataDir, "log", "p0"), /\.seg$/)) await rm(path);
    const run = await runServe({ dataDir, config: brokenFolderConfig });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(join("log", "p0"));
    expect(run.stderr).toContain("segments are gone");
  });

  it("of another log's segments refuses the start", async () => {
    const dataDir = await broken.copy();
    const [from] = await filesOf(join(dataDir, "log", "p1"), /\.seg$/);
    const [to] = (await filesOf(join(dataDir, "log", "p0"), /\.seg$/)).slice(-1);
    await cp(from, to);
    const run = await runServe({ dataDir, config: brokenFolderConfig });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(to);
  });

  it("with a pipe in place of a segment refuses the start and names it", async () => {
    const dataDir = await broken.copy();
    const [segment] = await filesOf(join(dataDir, "log", "p0"), /\.seg$/);
    await rm(segment);
    execFileSync("mkfifo", [segment]);
    // A process that waits for a writer of the pipe would ignore signals and never end.
    const run = await runServe({ dataDir, config: brokenFolderConfig });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain(`open ${segment}: it is a pipe, not a regular file`);
  });

  it("that is gone while blocks stay: the loss stands in the log and on the page", async () => {
    const dataDir = await broken.copy();
    const ends = join(dataDir, "log-ends.json");
    const before = await readFile(ends, "utf8");
    const first = await start(dataDir);
    await first.ready();
    await send(first.otlpHttp, makeTrace(2), wholeTenant);
    // The process records once a second how far the log is durable.
    await eventually(async () => (await readFile(ends, "utf8")) !== before);
    await first.kill();
    await rm(join(dataDir, "log"), { recursive: true });
    const spoor = await start(dataDir);
    await spoor.ready();
    expect(spoor.log()).toContain("acknowledged records were in no block");
    const page = await (await fetch(`${spoor.address}/`, { headers: asAdmin })).text();
    expect(page).toContain("Damage and losses of the span log");
    expect(page).toContain("acknowledged records were in no block");
    const json = { headers: { ...asAdmin, accept: "application/json" } };
    const status = await (await fetch(`${spoor.address}/status`, json)).text();
    expect(status).toContain("log_missing");
    expect(await checkHonest(spoor, wholeTenant, broken.stored)).toBe(0);
    await checkServes(spoor, wholeTenant);
    expect(await spoor.stop()).toBe(0);
  });

  it("with damaged records: the others are served, and responses report the loss", async () => {
    const dataDir = await broken.copy();
    const partition = ([{ traceId }]: SpanSpec[]): number =>
      partitionOf(Buffer.from(traceId, "hex"), 0, partitionCount);
    // More records follow in the same partition, so this is not a torn end: with this many
    // traces, some share a partition.
    const victim = broken.inLog.find((trace, i) =>
      broken.inLog.slice(i + 1).some((later) => partition(later) === partition(trace)),
    )!;
    let damaged = 0;
    for (const path of await filesOf(join(dataDir, "log"), /\.seg$/)) {
      const bytes = await readFile(path);
      const at = bytes.indexOf(Buffer.from(victim[0].traceId, "hex"));
      if (at < 0) continue;
      damaged++;
      bytes[at] ^= 1;
      await writeFile(path, bytes);
    }
    expect(damaged).toBe(1);
    const spoor = await start(dataDir);
    for (const trace of broken.inLog.filter((one) => one !== victim)) {
      expect((await find(spoor.address, trace[0].traceId, wholeTenant)).spanIds).toEqual(
        spanIdsOf(trace),
      );
    }
    expect((await find(spoor.address, victim[0].traceId, wholeTenant)).partial ?? "").toMatch(
      /damaged/,
    );
    expect(await checkHonest(spoor, wholeTenant, broken.stored)).toBeGreaterThanOrEqual(0);
    await checkServes(spoor, wholeTenant);
    expect(await spoor.stop()).toBe(0);
  });

  it("of other bytes by chance: it starts or says why, and never makes up spans", async () => {
    const random = seededRandom(11);
    for (let round = 0; round < 2 * inject("depth"); round++) {
      const dataDir = await broken.copy();
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
      for (const trace of [...broken.stored, ...broken.inLog]) {
        const { spanIds } = await find(spoor.address, trace[0].traceId, wholeTenant);
        expect(spanIdsOf(trace)).toEqual(expect.arrayContaining(spanIds));
      }
      await checkServes(spoor, wholeTenant);
      expect(await spoor.stop()).toBe(0);
    }
  });
});
