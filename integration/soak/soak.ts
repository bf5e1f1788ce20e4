/**
 * A server under load for a long time, and under overload for a short time. `spoor load` makes the
 * load, `spoor verify` checks the stored spans, and the table is counted at the end.
 */
import { join } from "node:path";
import type { LoadSummary } from "#cmd/spoor/load/load-text.ts";
import { type LoadRun, loadTenant, runLoad } from "#integration/parts/run-load.ts";
import {
  adminToken,
  runSpoor,
  type SpoorProcess,
  startSpoorProcess,
} from "#integration/parts/spoor.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import { openTable } from "#pkg/table/delta-table.ts";
import { folderBytes, formatSample, type Sample, Watch } from "./watch.ts";

export interface SoakOptions {
  /** An empty folder. */
  dir: string;
  durationMs: number;
  /** Spans per second; half of the measured limit by default. */
  spansPerSecond?: number;
  print: (line: string) => void;
}

export interface SoakResult {
  spansPerSecond: number;
  load: LoadSummary;
  loadExitCode: number;
  verifyExitCode: number;
  verifyText: string;
  serverExitCode: number;
  /** Concurrent queries, and those with a status other than 200. */
  queries: number;
  failedQueries: number;
  samples: Sample[];
  /** Rows in the table of the load's tenant. */
  storedSpans: number;
  blockBytes: number;
}

/** The generator also loads the machine, so the shutdown timeout is long. */
const multiTenancy = `server: {multitenancy: true, shutdown: 10m, admin_token: ${adminToken}}\n`;
const verifyTenant = "verify";
const measureSeconds = 20;
const sampleMs = 5000;

export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  const { dir, durationMs, print } = options;
  const spansPerSecond = options.spansPerSecond ?? Math.floor((await measureLimit(dir, print)) / 2);
  const dataDir = join(dir, "soak");
  const server = await startSpoorProcess({
    dataDir,
    config: multiTenancy,
    args: ["--log-level", "warn"],
  });
  try {
    await server.ready();
    print(`soak: ${spansPerSecond} spans/s for ${durationMs / 1000} s`);
    const startMs = Date.now();
    const watch = new Watch(server, sampleMs, (sample) => print(formatSample(sample, startMs)));
    const queries = new Queries(server);
    const [load, verify] = await Promise.all([
      runLoad(server, { spansPerSecond, durationMs }),
      runVerify(server, durationMs),
    ]);
    const queried = await queries.stop();
    const samples = await watch.stop();
    const serverExitCode = await server.stop();
    return {
      spansPerSecond,
      load: load.summary,
      loadExitCode: load.code,
      verifyExitCode: verify.code,
      verifyText: verify.text,
      serverExitCode,
      ...queried,
      samples,
      ...(await storedOf(dataDir, loadTenant)),
    };
  } finally {
    await server.kill();
  }
}

/**
 * Returns the spans per second that a server accepts and stores, with the generator on the same
 * machine: acknowledged spans divided by the time until all of them are in blocks. For a short time
 * the server accepts many more, and stores them later.
 */
async function measureLimit(dir: string, print: (line: string) => void): Promise<number> {
  const { load, seconds } = await loadFully(dir, "");
  const limit = Math.floor(load.acknowledgedSpans / seconds);
  print(`limit: ${load.acknowledgedSpansPerSecond} spans/s acknowledged, ${limit} spans/s stored`);
  return limit;
}

/** Loads a server at full speed; `seconds` is the time until all spans are in blocks. */
async function loadFully(
  dir: string,
  config: string,
): Promise<{ load: LoadSummary; seconds: number }> {
  const server = await startSpoorProcess({
    dataDir: join(dir, "limit"),
    config: multiTenancy + config,
    args: ["--log-level", "error"],
  });
  try {
    await server.ready();
    const startMs = performance.now();
    const durationMs = measureSeconds * 1000;
    const { summary: load } = await runLoad(server, { spansPerSecond: 0, durationMs });
    const code = await server.stop();
    if (code !== 0) throw new Error(`the server ended with ${code}: ${server.log()}`);
    return { load, seconds: (performance.now() - startMs) / 1000 };
  } finally {
    await server.kill();
  }
}

/** Runs `spoor verify` for `durationMs`. */
export async function runVerify(
  server: SpoorProcess,
  durationMs: number,
): Promise<{ code: number; text: string }> {
  const endpoints = ["--endpoint", server.otlpHttp, "--query-endpoint", server.address];
  const args = ["verify", ...endpoints, "--tenant", verifyTenant, "--duration", `${durationMs}ms`];
  const { code, stdout, stderr } = await runSpoor(args, durationMs + 600_000);
  return { code, text: stdout + stderr };
}

const conditions = [
  "{}",
  "{ status = error }",
  '{ resource.service.name = "checkout" && duration > 20ms }',
  '{ span.http.response.status_code = 503 || name =~ "INSERT .*" }',
  '{ event.exception.type = "LockTimeoutError" }',
];

/** Runs searches over the last minutes, one after the other, until it is stopped. */
class Queries {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  queries = 0;
  failedQueries = 0;

  constructor(server: SpoorProcess) {
    this.#running = this.#run(server);
  }

  async stop(): Promise<{ queries: number; failedQueries: number }> {
    this.#stop.abort();
    await this.#running;
    return { queries: this.queries, failedQueries: this.failedQueries };
  }

  async #run({ address }: SpoorProcess): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const q = conditions[this.queries % conditions.length];
      const end = Math.floor(Date.now() / 1000);
      const range = { start: String(end - 300), end: String(end), limit: "20" };
      const params = new URLSearchParams({ q, ...range }).toString();
      const headers = { "X-Scope-OrgID": loadTenant };
      const response = await fetch(`${address}/api/search?${params}`, { headers });
      await response.arrayBuffer();
      this.queries++;
      if (response.status !== 200) this.failedQueries++;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

/** Returns a tenant's stored spans, from the commits of its table, and the bytes of its folder. */
export async function storedOf(
  dataDir: string,
  tenant: string,
): Promise<{ storedSpans: number; blockBytes: number }> {
  const store = await openFsStore(join(dataDir, "bucket"));
  const log = openLog("silent");
  const { files } = await openTable({ store, tenant, clock: systemClock, log }).refresh();
  let storedSpans = 0;
  for (const { stats } of files.values()) storedSpans += stats.rows;
  return { storedSpans, blockBytes: await folderBytes(join(dataDir, "bucket", tenant)) };
}

export interface OverloadResult {
  limit: number;
  load: LoadRun;
  samples: Sample[];
  /** Result of `spoor verify` after the overload. */
  verify: { code: number; text: string };
  serverExitCode: number;
  dataDir: string;
}

/**
 * A server with a small log, which is full while heads are not stored. So the server pushes back at
 * a rate that this machine's generator can double.
 */
const smallServer = `
span_log: {bytes_max: 32MiB, segment_bytes_max: 2MiB, free_bytes_min: 0B, pending_bytes_max: 8MiB}
ingester: {cut_age: 4s, head_bytes_max: 256MiB}
receivers: {bytes_max: 32MiB, body_bytes_max: 16MiB, retry_after: 1s}
`;

/** Runs twice the server's limit for `durationMs`, then `spoor verify`. */
export async function runOverload(
  dir: string,
  durationMs: number,
  print: (line: string) => void,
): Promise<OverloadResult> {
  const { load: summary } = await loadFully(dir, smallServer);
  const limit = summary.acknowledgedSpansPerSecond;
  print(`limit: ${limit} spans/s acknowledged`);
  const dataDir = join(dir, "overload");
  const server = await startSpoorProcess({
    dataDir,
    config: multiTenancy + smallServer,
    args: ["--log-level", "error"],
  });
  try {
    await server.ready();
    print(`overload: ${2 * limit} spans/s for ${durationMs / 1000} s`);
    const startMs = Date.now();
    const watch = new Watch(server, sampleMs, (sample) => print(formatSample(sample, startMs)));
    const load = await runLoad(server, { spansPerSecond: 2 * limit, durationMs });
    const samples = await watch.stop();
    const verify = await runVerify(server, 15_000);
    const serverExitCode = await server.stop();
    return { limit, load, samples, verify, serverExitCode, dataDir };
  } finally {
    await server.kill();
  }
}
