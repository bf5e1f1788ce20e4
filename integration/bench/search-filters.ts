/**
 * Sixty filters over blocks and over live heads, through the real server, beside the same server of
 * another commit: one client, then eight. Both servers run on copies of one data folder and take
 * turns, and both must return the same traces.
 */
import { cp, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import type { BuiltBlocks } from "./blocks.ts";
import { generateDataset } from "./dataset.ts";
import { filters } from "./filters.ts";
import { sendHttp } from "./load.ts";
import { median, percentile } from "./measure.ts";

/** Live spans stay in heads: nothing is cut while the benchmark runs. */
const config =
  "ingester: {cut_age: 6h, cut_spans: 4000000, cut_bytes: 4GiB, cut_log_bytes: 4GiB}\n";
const liveSpans = 300_000;
/** Searches of each filter before those that are measured. */
const warmups = 3;
const clientsMax = 8;

export interface FiltersBench {
  built: BuiltBlocks;
  /** The folder of `built`. */
  dataDir: string;
  /** A folder for the copies. */
  dir: string;
  /** Measured searches of each filter. */
  runs: number;
  /** The code of the other commit, and its short hash. */
  against: { codeDir: string; version: string };
  /** Only filters that this pattern matches. */
  match: string;
  print: (line: string) => void;
}

interface Side {
  name: string;
  server: SpoorProcess;
}

interface Span {
  startSeconds: number;
  endSeconds: number;
}

interface Answer {
  tookMs: number;
  traceIds: string;
  inspectedSpans: number;
  inspectedBytes: number;
}

export async function benchFilters(options: FiltersBench): Promise<void> {
  const { built, print } = options;
  if (chosen(options).length === 0) throw new Error(`no filter matches ${options.match}`);
  const sides = await startSides(options);
  try {
    const now = Math.floor(Date.now() / 1000);
    const blocks = { startSeconds: now - 86_400, endSeconds: now - 3 };
    print(`\n${built.spans} spans in ${built.files.length} blocks, limit 20, warm; milliseconds`);
    await measure(sides, blocks, options);
    const live = await sendLive(sides);
    print(`\n${liveSpans} live spans, limit 20, warm; milliseconds`);
    await measure(sides, live, options);
  } finally {
    for (const { server } of sides) await server.kill();
    await rm(options.dir, { recursive: true, force: true });
  }
}

function chosen({ match }: Pick<FiltersBench, "match">): string[] {
  return filters.filter((query) => new RegExp(match).test(query));
}

async function startSides({ dataDir, dir, against }: FiltersBench): Promise<Side[]> {
  const versions = [
    { name: "this", codeDir: undefined },
    { name: against.version, codeDir: against.codeDir },
  ];
  const sides: Side[] = [];
  for (const [i, { name, codeDir }] of versions.entries()) {
    const copy = join(dir, `data-${i}`);
    await mkdir(copy, { recursive: true });
    await cp(join(dataDir, "bucket"), join(copy, "bucket"), { recursive: true });
    const args = ["--log-level", "warn"];
    const server = await startSpoorProcess({ dataDir: copy, config, args, codeDir });
    await server.ready();
    sides.push({ name, server });
  }
  return sides;
}

/** Sends the same spans to both; returns the time that they take up. */
async function sendLive(sides: readonly Side[]): Promise<Span> {
  const startSeconds = Math.floor(Date.now() / 1000);
  const spreadNano = 60n * 1_000_000_000n;
  const startNano = BigInt(startSeconds) * 1_000_000_000n;
  const seed = 77;
  const { requests } = generateDataset({
    spans: liveSpans,
    seed,
    startNano,
    spreadNano,
    hasCoupons: true,
  });
  for (const { server } of sides) await sendHttp(server.otlpHttp, requests, 8);
  return { startSeconds, endSeconds: startSeconds + 120 };
}

async function measure(
  sides: readonly Side[],
  range: Span,
  { runs, match, print }: FiltersBench,
): Promise<void> {
  const queries = chosen({ match });
  const cells = sides.flatMap(({ name }) => [`${name} p50`, "p99"]);
  printRow(print, [...cells, "ratio", "spans", "KiB"], "filter");
  const all: { query: string; medians: number[] }[] = [];
  for (const query of queries) {
    const times: number[][] = sides.map(() => []);
    let seen: Answer | undefined;
    for (let run = -warmups; run < runs; run++) {
      for (const [i, side] of sides.entries()) {
        const answer = await search(side.server.address, query, range);
        if (i > 0 && answer.traceIds !== seen!.traceIds) {
          throw new Error(`${query}: ${sides[0].name} and ${side.name} return other traces`);
        }
        if (i === 0) seen = answer;
        if (run >= 0) times[i].push(answer.tookMs);
      }
    }
    const medians = times.map(median);
    all.push({ query, medians });
    const figures = times.flatMap((some) => [
      median(some).toFixed(1),
      percentile(some, 0.99).toFixed(1),
    ]);
    const read = [String(seen!.inspectedSpans), (seen!.inspectedBytes / 1024).toFixed(0)];
    printRow(print, [...figures, (medians[0] / medians[1]).toFixed(2), ...read], query);
  }
  for (const [i, { name }] of sides.entries()) {
    const values = all.map(({ medians }) => medians[i]);
    const slow = all.filter(({ medians }) => medians[i] > 100).length;
    print(
      `${name}: geometric mean ${geometricMean(values).toFixed(1)} ms, ${slow} filters over 100 ms`,
    );
  }
  const ratio = geometricMean(all.map(({ medians }) => medians[0] / medians[1]));
  print(`ratio of the geometric means: ${ratio.toFixed(2)}`);
  for (const { name, server } of sides) {
    const [one, many] = [
      await throughput(server, range, queries, 1),
      await throughput(server, range, queries, clientsMax),
    ];
    const rates = `${one.toFixed(0)} with 1 client, ${many.toFixed(0)} with ${clientsMax}`;
    print(`${name}: searches/s: ${rates}: ${(many / one).toFixed(2)} times`);
  }
}

/** Searches per second: each filter three times, in the same order, by some clients together. */
async function throughput(
  server: SpoorProcess,
  range: Span,
  queries: readonly string[],
  clients: number,
): Promise<number> {
  const queue = Array.from({ length: 3 }, () => queries).flat();
  const count = queue.length;
  const startedMs = performance.now();
  const client = async (): Promise<void> => {
    for (let query = queue.pop(); query !== undefined; query = queue.pop()) {
      await search(server.address, query, range);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return count / ((performance.now() - startedMs) / 1000);
}

async function search(address: string, query: string, range: Span): Promise<Answer> {
  const { startSeconds, endSeconds } = range;
  const params = new URLSearchParams({
    q: query,
    limit: "20",
    start: String(startSeconds),
    end: String(endSeconds),
  });
  const startedMs = performance.now();
  const response = await fetch(`${address}/api/search?${params.toString()}`);
  const text = await response.text();
  const tookMs = performance.now() - startedMs;
  if (response.status !== 200) throw new Error(`${query}: ${response.status} ${text}`);
  const { traces = [], metrics = {} } = JSON.parse(text) as {
    traces?: { traceID: string }[];
    metrics?: { inspectedSpans?: string; inspectedBytes?: string };
  };
  return {
    tookMs,
    traceIds: traces.map(({ traceID }) => traceID).join(),
    inspectedSpans: Number(metrics.inspectedSpans ?? 0),
    inspectedBytes: Number(metrics.inspectedBytes ?? 0),
  };
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

function printRow(print: FiltersBench["print"], cells: readonly string[], query: string): void {
  print(`${cells.map((cell) => cell.padStart(12)).join("")}   ${query}`);
}
