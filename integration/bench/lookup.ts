/**
 * `npm run bench:lookup`: a trace by its id over 1,000 blocks on MinIO, with time added to every
 * request between Spoor and the bucket. README.md says what is measured.
 *
 *     npm run bench:lookup -- [--blocks 1000] [--cold 20] [--warm 200] [--seed 1] [--dir DIR]
 */
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { makeS3Bucket } from "#integration/parts/buckets.ts";
import { type HttpProxy, startHttpProxy } from "#integration/parts/http-proxy.ts";
import { type Requests, requestsOf } from "#integration/parts/many-blocks.ts";
import { startMinio } from "#integration/parts/minio.ts";
import { find } from "#integration/parts/spans.ts";
import { s3StorageYaml } from "#integration/parts/spoor-on-bucket.ts";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import { openBlock } from "#pkg/block/reader.ts";
import { columnOf, valueBytes } from "#pkg/columns/column-batch.ts";
import { SeededRandom } from "#pkg/loadgen/random.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import type { S3Options } from "#pkg/objstore/s3/s3-options.ts";
import { openS3Store } from "#pkg/objstore/s3/s3.ts";
import { blocksIn, type BuiltBlocks } from "./blocks.ts";
import { machine, median, percentile } from "./measure.ts";

const { values: flags } = parseArgs({
  options: {
    blocks: { type: "string", default: "1000" },
    cold: { type: "string", default: "20" },
    warm: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    dir: { type: "string" },
  },
});
const coldRuns = Number(flags.cold);
const warmLookups = Number(flags.warm);
const addedMs = [0, 30, 100];

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

interface KnownTrace {
  id: string;
  spans: number;
}

interface LookUpBench {
  options: S3Options;
  proxy: HttpProxy;
  traces: readonly KnownTrace[];
}

/** All that an earlier run or this one has built, as it is. */
async function copyTo(to: ObjectStore, dataDir: string): Promise<void> {
  const from = await openFsStore(join(dataDir, "bucket"));
  for await (const { key } of from.list("")) {
    await to.put(key, await readFile(join(dataDir, "bucket", key)));
  }
}

/** Traces of random blocks, each of another one as far as there are enough. */
async function drawTraces(
  { files }: BuiltBlocks,
  dataDir: string,
  count: number,
): Promise<KnownTrace[]> {
  const random = new SeededRandom(Number(flags.seed));
  const store = await openFsStore(join(dataDir, "bucket"));
  const traces: KnownTrace[] = [];
  while (traces.length < count) {
    const path = files[random.below(files.length)];
    const key = relative(join(dataDir, "bucket"), path);
    const { length: sizeBytes } = await readFile(path);
    const reader = await openBlock({ store, key, sizeBytes });
    const batch = await reader.readRowGroup(0, ["trace_id"]);
    const { dictionary, codes } = columnOf(batch, "trace_id", "dict")!;
    const code = codes[random.below(batch.rows)];
    const id = Buffer.from(valueBytes(dictionary, code)).toString("hex");
    traces.push({ id, spans: codes.subarray(0, batch.rows).filter((one) => one === code).length });
    reader.close();
  }
  return traces;
}

/** Milliseconds until a trace is there, whole. */
async function timeOf(spoor: SpoorProcess, { id, spans }: KnownTrace): Promise<number> {
  const startedMs = performance.now();
  const { status, spanIds, partial } = await find(spoor.address, id);
  const tookMs = performance.now() - startedMs;
  if (status === 200 && spanIds.length === spans && partial === undefined) return tookMs;
  throw new Error(`trace ${id}: ${status}, ${spanIds.length} of ${spans} spans, ${partial}`);
}

/** A fresh process without any cache. */
async function inFreshProcess<T>(
  { options, proxy }: LookUpBench,
  use: (spoor: SpoorProcess) => Promise<T>,
): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-bench-"));
  try {
    const config = s3StorageYaml({ ...options, endpoint: proxy.address });
    const args = ["--log-level", "error"];
    const spoor = await startSpoorProcess({ dataDir: join(dir, "data"), config, args });
    try {
      await spoor.ready();
      return await use(spoor);
    } finally {
      await spoor.stop();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function printTimes(name: string, times: readonly number[], requests: Requests): void {
  const [p50, p99] = [percentile(times, 0.5), percentile(times, 0.99)];
  const asked = Object.entries(requests).map(([kind, count]) => `${count} ${kind}`);
  print(
    `${name.padEnd(28)}${p50.toFixed(0).padStart(8)}${p99.toFixed(0).padStart(8)}` +
      `${String(times.length).padStart(8)}   ${asked.join(", ")}`,
  );
}

async function benchDelay(bench: LookUpBench, delayMs: number): Promise<void> {
  const { proxy, traces } = bench;
  proxy.delayMs = delayMs;
  const cold: number[] = [];
  let coldRequests: Requests = {};
  for (const trace of traces.slice(0, coldRuns)) {
    await inFreshProcess(bench, async (spoor) => {
      coldRequests = await requestsOf(spoor.address, async () => {
        cold.push(await timeOf(spoor, trace));
      });
    });
  }
  printTimes(`+${delayMs} ms, cold`, cold, coldRequests);
  await inFreshProcess(bench, async (spoor) => {
    // The first ones read the bloom filters of all partitions.
    for (const trace of traces.slice(0, coldRuns)) await timeOf(spoor, trace);
    for (const name of ["warm, block not read yet", "warm, asked again"]) {
      const times: number[] = [];
      const requests = await requestsOf(spoor.address, async () => {
        for (const trace of traces.slice(coldRuns)) times.push(await timeOf(spoor, trace));
      });
      const each = Object.entries(requests).map(([kind, n]) => [kind, n / times.length] as const);
      printTimes(`+${delayMs} ms, ${name}`, times, rounded(each));
    }
  });
}

function rounded(entries: readonly (readonly [string, number])[]): Requests {
  return Object.fromEntries(entries.map(([kind, count]) => [kind, Math.round(count * 10) / 10]));
}

async function main(): Promise<void> {
  print(machine());
  const dir = flags.dir ?? (await mkdtemp(join(tmpdir(), "spoor-bench-")));
  const minioDir = await mkdtemp(join(tmpdir(), "spoor-bench-"));
  await mkdir(join(minioDir, "minio"));
  const minio = await startMinio({ dir: join(minioDir, "minio") });
  const proxy = await startHttpProxy(minio.address);
  try {
    const dataDir = join(dir, "small");
    const built = await blocksIn(dataDir, { blocks: Number(flags.blocks), spansPerBlock: 2000 });
    const options = await makeS3Bucket(minio, "lookup");
    await copyTo(openS3Store(options), dataDir);
    const traces = await drawTraces(built, dataDir, coldRuns + warmLookups);
    print(`\n${built.spans} spans in ${built.files.length} blocks on MinIO; milliseconds`);
    print(
      `a trace has ${median(traces.map(({ spans }) => spans))} spans in the median; requests are ` +
        "those of the last cold look-up, and the average when warm",
    );
    const heads = ["p50", "p99", "of"].map((head) => head.padStart(8));
    print(`${"added to each request".padEnd(28)}${heads.join("")}`);
    for (const delayMs of addedMs) await benchDelay({ options, proxy, traces }, delayMs);
  } finally {
    await proxy.stop();
    await minio.stop();
    await rm(minioDir, { recursive: true, force: true });
    if (flags.dir === undefined) await rm(dir, { recursive: true, force: true });
  }
}

await main();
