/**
 * `npm run bench`: CPU seconds per million spans of each step of the way in, and of the whole
 * server process; bytes per span; time from an answer to being findable. README.md says what is
 * measured.
 *
 *     npm run bench -- [--spans 200000] [--server-spans 1000000] [--runs 5] [--seed 1]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { type CutBlock, cutHead } from "#pkg/block/cut.ts";
import { openBlock } from "#pkg/block/reader.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { Head } from "#pkg/columns/head.ts";
import { HeadDecoder } from "#pkg/columns/head-decode.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { Traffic } from "#pkg/loadgen/traffic.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { mayExceedLimits } from "#pkg/otlp/attribute-scan.ts";
import { SplitScratch } from "#pkg/otlp/split-scratch.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import { openFileLog } from "#pkg/spanlog/file-log.ts";
import { startSpoorProcess } from "#integration/parts/spoor.ts";
import { type Dataset, generateDataset } from "./dataset.ts";
import { sendGrpc, sendHttp } from "./load.ts";
import {
  cpuSecondsOf,
  formatRow,
  machine,
  median,
  ownCpuSeconds,
  percentile,
  type Row,
  stopAndCount,
} from "./measure.ts";

const { values: flags } = parseArgs({
  options: {
    spans: { type: "string", default: "200000" },
    "server-spans": { type: "string", default: "1000000" },
    runs: { type: "string", default: "5" },
    seed: { type: "string", default: "1" },
  },
});
const spans = Number(flags.spans);
const serverSpans = Number(flags["server-spans"]);
const runs = Number(flags.runs);
const lanes = 8;
const partitionCount = 4;
const perMillion = "CPU s / M spans";

function makeDataset(spans: number): Dataset {
  const spreadNano = 300n * 1_000_000_000n;
  const startNano = BigInt(Date.now()) * 1_000_000n - spreadNano;
  return generateDataset({ spans, seed: Number(flags.seed), startNano, spreadNano });
}

/** Runs all steps once per run, in turn, so that a slow moment of the machine hits all of them. */
async function benchSteps(data: Dataset, rows: Map<string, Row>): Promise<CutBlock> {
  const add = (name: string, cpuSeconds: number): void => {
    const row = rows.get(name) ?? { name, values: [], unit: perMillion };
    row.values.push((cpuSeconds / data.spans) * 1e6);
    rows.set(name, row);
  };
  const timed = async <T>(name: string, run: () => T | Promise<T>): Promise<T> => {
    const before = ownCpuSeconds();
    const result = await run();
    add(name, ownCpuSeconds() - before);
    return result;
  };
  let block: CutBlock | undefined;
  const traffic = new Traffic({ seed: Number(flags.seed) });
  for (let run = 0; run <= runs; run++) {
    await timed("generate (spoor load)", () => generateAll(traffic, data.spans));
    const records = await timed("split", () => splitAll(data));
    await timed("log (append, fsync)", () => logAll(records));
    await timed("scan for attribute limits", () => scanAll(records));
    const heads = await timed("decode", () => decodeAll(records));
    block = await timed("cut", () => heads.map((head) => cut(head)).at(-1)!);
    // The first run warms the compiler up.
    if (run === 0) rows.clear();
  }
  return block!;
}

/** About as many spans as the data set has. */
function generateAll(traffic: Traffic, spans: number): void {
  for (let made = 0; made < spans; made += traffic.next(Date.now())!.spanCount);
}

interface PartitionRecord {
  partition: number;
  record: Uint8Array;
}

function splitAll(data: Dataset): PartitionRecord[] {
  const scratch = new SplitScratch();
  return data.requests.flatMap((body) => splitRequest(body, { partitionCount, scratch }).parts);
}

async function logAll(records: readonly PartitionRecord[]): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-bench-"));
  try {
    const log = openLog("silent");
    const options = { clock: systemClock, log, partitionCount, freeBytesMin: 0 };
    await using spanLog = await openFileLog(dir, options);
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < records.length) {
        const { partition, record } = records[next++];
        await spanLog.append(partition, "bench", record);
      }
    };
    await Promise.all(Array.from({ length: lanes * partitionCount }, lane));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Limits that no attribute exceeds: the way that nearly all records go. */
function scanAll(records: readonly PartitionRecord[]): void {
  const limits = { attributeKeyBytesMax: 128, attributeValueBytesMax: 2048 };
  for (const { record } of records) {
    if (!mayExceedLimits(record, { ...limits, attributesPerSpanMax: 128 })) continue;
    throw new Error("the data set has attributes beyond the limits");
  }
}

function decodeAll(records: readonly PartitionRecord[]): Head[] {
  const heads = Array.from({ length: partitionCount }, (_, i) => new Head(i));
  const decoders = heads.map((head) => new HeadDecoder(head));
  for (const { partition, record } of records) decoders[partition].decode(record);
  return heads;
}

function cut(head: Head): CutBlock {
  const nowNano = BigInt(Date.now()) * 1_000_000n;
  const dayNano = 86_400n * 1_000_000_000n;
  return cutHead(head.freeze(), {
    rowGroupSpans: 100_000,
    plausibleFromNano: nowNano - dayNano,
    plausibleToNano: nowNano + dayNano,
    partition: { index: 0, count: partitionCount },
    createdBy: "bench",
    tableColumns: [],
  });
}

/** CPU of a process of its own that only receives. */
async function benchReceive(data: Dataset, rows: Map<string, Row>): Promise<void> {
  const path = fileURLToPath(new URL("null-receiver.ts", import.meta.url));
  const child = spawn(process.execPath, [path], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const [http, grpc] = line.toString().trim().split(" ");
  const http1: Row = { name: "receive OTLP/HTTP", values: [], unit: perMillion };
  const http2: Row = { name: "receive OTLP/gRPC", values: [], unit: perMillion };
  for (let run = 0; run <= runs; run++) {
    for (const [row, send, port] of [
      [http1, sendHttp, http],
      [http2, sendGrpc, grpc],
    ] as const) {
      const before = cpuSecondsOf(child.pid!)!;
      await send(`http://127.0.0.1:${port}`, data.requests, lanes);
      const used = cpuSecondsOf(child.pid!)! - before;
      if (run > 0) row.values.push((used / data.spans) * 1e6);
    }
  }
  child.kill("SIGTERM");
  rows.set(http1.name, http1);
  rows.set(http2.name, http2);
}

/** The whole server: from the first byte received until every span is in a block, and its exit. */
async function benchServer(
  data: Dataset,
  protocol: "HTTP" | "gRPC",
): Promise<{ cpuPerMillion: number; spansPerSecond: number }> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-bench-"));
  try {
    const server = await startSpoorProcess({
      dataDir: join(dir, "data"),
      args: ["--log-level", "warn"],
    });
    await server.ready();
    const send = protocol === "HTTP" ? sendHttp : sendGrpc;
    const address = protocol === "HTTP" ? server.otlpHttp : server.otlpGrpc;
    const before = cpuSecondsOf(server.pid)!;
    const { seconds } = await send(address, data.requests, lanes);
    const cpuSeconds = (await stopAndCount(server)) - before;
    return {
      cpuPerMillion: (cpuSeconds / data.spans) * 1e6,
      spansPerSecond: data.spans / seconds,
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Milliseconds from the answer to a request until its trace is found by id, under load. */
async function benchFindable(data: Dataset): Promise<number[]> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-bench-"));
  try {
    const server = await startSpoorProcess({
      dataDir: join(dir, "data"),
      args: ["--log-level", "warn"],
    });
    await server.ready();
    const waits: number[] = [];
    const progress = { isLoading: true };
    const load = sendHttp(server.otlpHttp, data.requests, 4);
    const loaded = load.finally(() => (progress.isLoading = false));
    for (let i = 0; progress.isLoading || i < 20; i++) {
      const probe = generateDataset({
        spans: 1,
        seed: 1_000_000 + i,
        startNano: 1n,
        spreadNano: 1n,
      });
      await sendHttp(server.otlpHttp, probe.requests, 1);
      waits.push(await untilFound(server.address, probe.requests[0]));
    }
    await loaded;
    await server.stop();
    return waits;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function untilFound(address: string, request: Uint8Array): Promise<number> {
  const head = new Head(1);
  new HeadDecoder(head).decode(request);
  const words = head.freeze().traceIds.subarray(0, 4);
  const id = [...words].map((word) => word.toString(16).padStart(8, "0")).join("");
  const startMs = performance.now();
  for (;;) {
    const response = await fetch(`${address}/api/v2/traces/${id}`);
    await response.arrayBuffer();
    if (response.status === 200) return performance.now() - startMs;
  }
}

async function printColumns(block: CutBlock): Promise<void> {
  const store = new MemoryStore();
  await store.put("block", block.bytes);
  const sizeBytes = block.bytes.length;
  const reader = await openBlock({ store, key: "block", sizeBytes });
  const byColumn = new Map<string, number>();
  for (const { columns } of reader.rowGroups) {
    for (const { name, sizeBytes: size } of columns) {
      byColumn.set(name, (byColumn.get(name) ?? 0) + size);
    }
  }
  reader.close();
  byColumn.set("(index section)", block.footerOffset - block.indexOffset);
  byColumn.set("(footer)", sizeBytes - block.footerOffset);
  process.stdout.write("\nbytes per span by column\n");
  for (const [name, size] of [...byColumn].sort((a, b) => b[1] - a[1])) {
    const share = ((100 * size) / sizeBytes).toFixed(1);
    const perSpan = (size / block.spans).toFixed(2).padStart(8);
    process.stdout.write(`  ${name.padEnd(42)} ${perSpan}   ${share} %\n`);
  }
}

async function benchWholeServer(data: Dataset): Promise<Row[]> {
  const http: Row = { name: "whole server, OTLP/HTTP", values: [], unit: perMillion, aim: 14 };
  const grpc: Row = { name: "whole server, OTLP/gRPC", values: [], unit: perMillion };
  const rate: Row = { name: "taken in over OTLP/HTTP, durably", values: [], unit: "spans / s" };
  for (let run = 0; run < runs; run++) {
    const overHttp = await benchServer(data, "HTTP");
    http.values.push(overHttp.cpuPerMillion);
    rate.values.push(overHttp.spansPerSecond);
    grpc.values.push((await benchServer(data, "gRPC")).cpuPerMillion);
  }
  return [http, grpc, rate];
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main(): Promise<void> {
  const data = makeDataset(spans);
  print(machine());
  print(
    `${data.spans} spans, ${data.traces} traces, ${data.requests.length} requests, ` +
      `${(data.sizeBytes / data.spans).toFixed(0)} bytes per span, seed ${flags.seed}\n`,
  );
  const rows = new Map<string, Row>();
  const block = await benchSteps(data, rows);
  await benchReceive(data, rows);
  for (const row of rows.values()) print(formatRow(row));
  const values = [block.bytes.length / block.spans];
  print(formatRow({ name: "block", values, unit: "bytes / span", aim: 45 }));
  const waits = await benchFindable(data);
  print(
    `answer to findable by id, under load: median ${median(waits).toFixed(0)} ms, ` +
      `p99 ${percentile(waits, 0.99).toFixed(0)} ms, ${waits.length} traces   aim: at most 1000 ms`,
  );
  print(`\nthe whole server, ${serverSpans} spans a run`);
  for (const row of await benchWholeServer(makeDataset(serverSpans))) print(formatRow(row));
  await printColumns(block);
}

await main();
