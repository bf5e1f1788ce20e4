/** A data folder with blocks and a log that is not empty: tests break copies of it. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { adminToken, type SpoorProcess, startSpoorProcess } from "./spoor.ts";
import { eventually, find, makeTrace, send, spanIdsOf } from "./spans.ts";

export const partitionCount = 2;

/** With several tenants, as what is broken for one must not be for the others. */
export const brokenFolderConfig: string = configWith("");

/** For servers that have a table to which they can store nothing: they stop without waiting. */
export const impatientConfig: string = configWith(", shutdown: 2s");

function configWith(ofServer: string): string {
  return (
    `span_log: {free_bytes_min: 1MiB, partition_count: ${partitionCount}}\n` +
    "querier: {threads: 1}\n" +
    `server: {multitenancy: true, admin_token: ${adminToken}${ofServer}}\n`
  );
}

export const wholeTenant = "whole";

export class BrokenFolder implements AsyncDisposable {
  readonly #base: string;
  #copies = 0;
  /** In blocks. */
  readonly stored: SpanSpec[][] = Array.from({ length: 9 }, () => makeTrace(3));
  /** In the log alone. */
  readonly inLog: SpanSpec[][] = Array.from({ length: 8 }, () => makeTrace(2));

  private constructor(base: string) {
    this.#base = base;
  }

  /**
   * Everything is of one tenant, `wholeTenant`. Each life of its server ends in at least one
   * commit, so that its table has as many as there were lives.
   */
  static async make({ lives }: { lives: number }): Promise<BrokenFolder> {
    const folder = new BrokenFolder(await mkdtemp(join(tmpdir(), "spoor-broken-")));
    const dataDir = join(folder.#base, "data");
    await mkdir(dataDir);
    const start = { dataDir, config: brokenFolderConfig };
    for (let life = 0; life < lives; life++) {
      const spoor = await startSpoorProcess(start);
      await spoor.ready();
      const traces = folder.stored.filter((_, i) => i % lives === life);
      for (const trace of traces) await send(spoor.otlpHttp, trace, wholeTenant);
      expect(await spoor.stop()).toBe(0);
    }
    const last = await startSpoorProcess(start);
    await last.ready();
    for (const trace of folder.inLog) await send(last.otlpHttp, trace, wholeTenant);
    await last.kill();
    return folder;
  }

  /** A data folder to be broken. */
  async copy(): Promise<string> {
    const dataDir = join(this.#base, `copy-${++this.#copies}`, "data");
    await cp(join(this.#base, "data"), dataDir, { recursive: true });
    return dataDir;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#base, { recursive: true, force: true });
  }
}

/** Paths of files below a folder whose names match, in order. */
export async function filesOf(folder: string, pattern: RegExp): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Turns over bits of each byte in a range of a file. */
export async function flip(path: string, from: number, to: number): Promise<void> {
  const bytes = await readFile(path);
  for (let i = from; i < Math.min(to, bytes.length); i++) bytes[i] ^= 0x5a;
  await writeFile(path, bytes);
}

/** Takes and finds a good trace. */
export async function checkServes(spoor: SpoorProcess, tenant: string): Promise<void> {
  const trace = makeTrace(2);
  await send(spoor.otlpHttp, trace, tenant);
  await eventually(
    async () => (await find(spoor.address, trace[0].traceId, tenant)).spanIds.length === 2,
  );
  process.kill(spoor.pid, 0);
}

/**
 * Every trace is found whole, or its answer says that it is not: never a part of one, or none of
 * it, that passes for all. Returns how many answers were partial.
 */
export async function checkHonest(
  spoor: SpoorProcess,
  tenant: string,
  traces: readonly SpanSpec[][],
): Promise<number> {
  let partial = 0;
  for (const trace of traces) {
    const found = await find(spoor.address, trace[0].traceId, tenant);
    expect(found.status).toBe(200);
    if (found.partial !== undefined) partial++;
    else expect(found.spanIds).toEqual(spanIdsOf(trace));
    const known = new Set(spanIdsOf(trace));
    expect(found.spanIds.filter((id) => !known.has(id))).toEqual([]);
  }
  return partial;
}
