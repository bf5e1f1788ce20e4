/**
 * Kills the real binary at random moments under load and checks after each restart that every
 * acknowledged span is found exactly once. The same seed gives the same load and moments (the
 * machine's timing stays its own).
 */
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { Registry } from "prom-client";
import { seededRandom } from "#integration/bench/dataset.ts";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import { readStored } from "#integration/parts/stored.ts";
import { compactorConfig } from "#modules/compactor/config.ts";
import { Compactor } from "#modules/compactor/compactor.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/log.ts";
import { openFsStore } from "#pkg/objstore/fs.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { singleTenant } from "#pkg/tenant/tenant.ts";
import { openTable } from "#pkg/table/table.ts";
import { CrashClient, type SentTrace } from "./client.ts";

export interface CrashOptions {
  rounds: number;
  seed: number;
  /** An empty folder. */
  dir: string;
  onRound?: (round: CrashRound) => void;
}

export interface CrashRound {
  round: number;
  killedAfterMs: number;
  acknowledgedSpans: number;
}

export interface CrashResult {
  rounds: number;
  acknowledgedSpans: number;
  /** Acknowledged spans that were not found at the end, and spans found more than once. */
  lostSpans: number;
  doubledSpans: number;
  blocks: number;
  /** Bytes of the log after everything became blocks. */
  logBytes: number;
  /** Block objects that no commit names, after clean-up. */
  strayObjects: number;
  /** What was wrong with a trace that was asked for by id after a restart. */
  problems: string[];
}

/** Small heads, so that kills hit cuts and commits as often as the log. */
const config = `
ingester:
  cut_spans: 400
  cut_age: 700ms
log:
  free_bytes_min: 1MiB
  segment_bytes_max: 256KiB
`;

export async function runCrashRounds(options: CrashOptions): Promise<CrashResult> {
  const random = seededRandom(options.seed);
  const client = new CrashClient(random);
  const dataDir = join(options.dir, "data");
  await mkdir(dataDir, { recursive: true });
  const problems: string[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const server = await startSpoorProcess({ dataDir, config });
    // Some rounds kill while the log is still being read again.
    const isEarly = random() < 0.2;
    if (!isEarly) {
      await server.ready();
      problems.push(...(await checkTraces(server, pick(random, client.acknowledged, 40))));
    }
    const killedAfterMs = Math.floor(random() * (isEarly ? 60 : 1500));
    const load = new AbortController();
    const running = client.run(server.otlpHttp, 4, load.signal);
    await new Promise((resolve) => setTimeout(resolve, killedAfterMs));
    await server.kill();
    load.abort();
    await running;
    const acknowledgedSpans = countSpans(client.acknowledged);
    options.onRound?.({ round, killedAfterMs, acknowledgedSpans });
  }
  const last = await startSpoorProcess({ dataDir, config });
  await last.ready();
  problems.push(...(await checkTraces(last, pick(random, client.acknowledged, 200))));
  const exitCode = await last.stop();
  if (exitCode !== 0) problems.push(`graceful stop ended with exit code ${exitCode}`);
  return { rounds: options.rounds, ...(await countStored(dataDir, client)), problems };
}

function countSpans(traces: readonly SentTrace[]): number {
  return traces.reduce((sum, { spanIds }) => sum + spanIds.length, 0);
}

function pick<T>(random: () => number, list: readonly T[], count: number): T[] {
  return Array.from({ length: Math.min(count, list.length) }, () => {
    return list[Math.floor(random() * list.length)];
  });
}

/** Asks for traces by id; each must have exactly its spans. */
async function checkTraces(server: SpoorProcess, traces: readonly SentTrace[]): Promise<string[]> {
  const problems: string[] = [];
  for (const { traceId, spanIds } of traces) {
    const response = await fetch(`${server.address}/api/v2/traces/${traceId}`);
    const text = await response.text();
    if (response.status !== 200) {
      problems.push(`trace ${traceId}: ${response.status} ${text}`);
      continue;
    }
    const ids = [...text.matchAll(/"spanId":"([^"]+)"/g)].map(([, id]) =>
      Buffer.from(id, "base64").toString("hex"),
    );
    if (ids.sort().join() !== [...spanIds].sort().join()) {
      problems.push(`trace ${traceId}: has spans ${ids.join()}, expected ${spanIds.join()}`);
    }
    if (text.includes('"status":"PARTIAL"')) problems.push(`trace ${traceId}: partial answer`);
  }
  return problems;
}

/** Counts every span in every block of the table, without the server. */
async function countStored(
  dataDir: string,
  client: CrashClient,
): Promise<Omit<CrashResult, "rounds" | "problems">> {
  const { blocks, counts } = await readStored(dataDir);
  const acknowledged = client.acknowledged.flatMap(({ traceId, spanIds }) =>
    spanIds.map((spanId) => `${traceId}/${spanId}`),
  );
  return {
    acknowledgedSpans: acknowledged.length,
    lostSpans: acknowledged.filter((id) => !counts.has(id)).length,
    doubledSpans: [...counts.values()].filter((count) => count > 1).length,
    blocks,
    logBytes: await folderBytes(join(dataDir, "log")),
    strayObjects: await strayObjects(await openFsStore(join(dataDir, "bucket"))),
  };
}

/** Runs the clean-up as it would run in two days and counts objects that no commit names. */
async function strayObjects(store: ObjectStore): Promise<number> {
  const log = openLog("silent");
  const later = { ...systemClock, nowMs: () => Date.now() + 2 * 24 * 3600 * 1000 };
  const table = openTable({ store, tenant: singleTenant, clock: later, log });
  const compactor = new Compactor({
    // The clock is set forward on purpose; the compactor would refuse to trust it otherwise.
    config: compactorConfig.parse({ clockSkewMs: 4 * 24 * 3600 * 1000 }),
    log,
    registry: new Registry(),
    clock: later,
    store,
    tableOf: () => table,
  });
  await compactor.runOnce();
  const { files } = await table.refresh();
  let stray = 0;
  for await (const { key } of store.list(`${singleTenant}/`)) {
    const path = key.slice(singleTenant.length + 1);
    if (!path.startsWith("_delta_log/") && !files.has(path)) stray++;
  }
  return stray;
}

async function folderBytes(dir: string): Promise<number> {
  let total = 0;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) total += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return total;
}
