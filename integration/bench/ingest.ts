/**
 * `npm run bench:ingest`: what the server takes in durably, with the generator beside it, and the
 * CPU that this costs: over both protocols, beside another commit's; and into MinIO beside files.
 * README.md says what is measured.
 *
 *     npm run bench:ingest -- [--against HEAD~1] [--runs 5] [--seconds 20] [--only PART]
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { makeS3Bucket } from "#integration/parts/buckets.ts";
import { startMinio } from "#integration/parts/minio.ts";
import { type LoadRunOptions, runLoad } from "#integration/parts/run-load.ts";
import { s3StorageYaml } from "#integration/parts/spoor-on-bucket.ts";
import { startSpoorProcess } from "#integration/parts/spoor.ts";
import { cpuSecondsOf, formatRow, machine, median, type Row, stopAndCount } from "./measure.ts";
import { checkOutVersion, versionOf } from "./other-version.ts";

const { values: flags } = parseArgs({
  options: {
    against: { type: "string", default: "HEAD~1" },
    runs: { type: "string", default: "5" },
    seconds: { type: "string", default: "20" },
    "spans-per-second": { type: "string", default: "30000" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
  },
});
const runs = Number(flags.runs);
const durationMs = Number(flags.seconds) * 1000;
const seed = Number(flags.seed);
const multiTenancy = "server: {multitenancy: true, shutdown: 10m}\n";
const cpuUnit = "CPU s / M spans";
const rateUnit = "spans / s";

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

interface Ingest extends Pick<LoadRunOptions, "spansPerSecond" | "protocol"> {
  config?: string;
  codeDir?: string;
}

interface Measured {
  /** From the first byte until the process has ended, every span in a block. */
  cpuPerMillion: number;
  spansPerSecond: number;
}

/** A fresh server in a folder of its own, loaded for a while, then stopped. */
async function ingest({ config = "", codeDir, ...load }: Ingest): Promise<Measured> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-bench-"));
  try {
    const server = await startSpoorProcess({
      dataDir: join(dir, "data"),
      config: multiTenancy + config,
      args: ["--log-level", "error"],
      codeDir,
    });
    await server.ready();
    const before = cpuSecondsOf(server.pid)!;
    const { code, summary } = await runLoad(server, { ...load, durationMs, seed });
    if (code !== 0) throw new Error(`spoor load ended with ${code}: ${JSON.stringify(summary)}`);
    const cpuSeconds = (await stopAndCount(server)) - before;
    return {
      cpuPerMillion: (cpuSeconds / summary.acknowledgedSpans) * 1e6,
      spansPerSecond: summary.acknowledgedSpansPerSecond,
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** As fast as it goes: both protocols, this version and another one, in turn. */
async function benchProtocols(codeDir: string, other: string): Promise<void> {
  const versions = [
    { version: `this (${await versionOf("HEAD")})`, codeDir: undefined },
    { version: `before (${other})`, codeDir },
  ];
  const rows = versions.flatMap(({ version, codeDir: dir }) =>
    (["http", "grpc"] as const).map((protocol) => ({
      codeDir: dir,
      protocol,
      cpu: { name: `OTLP/${protocol}, ${version}`, values: [], unit: cpuUnit } as Row,
      rate: { name: `OTLP/${protocol}, ${version}`, values: [], unit: rateUnit } as Row,
    })),
  );
  for (let run = 0; run < runs; run++) {
    // What is first finds a quiet disk: another one is, each time.
    for (const [i] of rows.entries()) {
      const row = rows[(i + run) % rows.length];
      const { codeDir: dir, protocol } = row;
      const measured = await ingest({ codeDir: dir, protocol, spansPerSecond: 0 });
      row.cpu.values.push(measured.cpuPerMillion);
      row.rate.values.push(measured.spansPerSecond);
    }
  }
  print(`\nas fast as it goes, ${flags.seconds} s a run, generator beside it`);
  for (const { rate } of rows) print(formatRow(rate));
  for (const { cpu } of rows) print(formatRow(cpu));
  const [http, grpc, httpBefore, grpcBefore] = rows.map(({ cpu }) => median(cpu.values));
  print(`CPU of OTLP/gRPC by OTLP/HTTP   ${(grpc / http).toFixed(2)}   aim: at most 1.3`);
  print(
    `CPU of this version by the other   HTTP ${(http / httpBefore).toFixed(2)}, ` +
      `gRPC ${(grpc / grpcBefore).toFixed(2)}`,
  );
}

/** The same rate into files and into MinIO, in turn. */
async function benchBucket(dir: string): Promise<void> {
  await mkdir(join(dir, "minio"));
  const minio = await startMinio({ dir: join(dir, "minio") });
  const spansPerSecond = Number(flags["spans-per-second"]);
  const files: Row = { name: "blocks into files", values: [], unit: cpuUnit };
  const bucket: Row = { name: "blocks into MinIO", values: [], unit: cpuUnit };
  try {
    const onFiles = async (): Promise<void> => {
      files.values.push((await ingest({ spansPerSecond })).cpuPerMillion);
    };
    for (let run = 0; run < runs; run++) {
      const config = s3StorageYaml(await makeS3Bucket(minio, `ingest-${run}`));
      const onBucket = async (): Promise<void> => {
        bucket.values.push((await ingest({ config, spansPerSecond })).cpuPerMillion);
      };
      const turns = run % 2 === 0 ? [onFiles, onBucket] : [onBucket, onFiles];
      for (const turn of turns) await turn();
    }
  } finally {
    await minio.stop();
  }
  print(`\n${spansPerSecond} spans/s for ${flags.seconds} s, in turn`);
  for (const row of [files, bucket]) print(formatRow(row));
  const ratio = median(bucket.values) / median(files.values);
  print(`MinIO by files   ${ratio.toFixed(2)}   aim: at most 1.10`);
}

async function main(): Promise<void> {
  print(machine());
  const dir = await mkdtemp(join(tmpdir(), "spoor-bench-"));
  const isWanted = (part: string): boolean => flags.only === undefined || flags.only === part;
  try {
    if (isWanted("protocols")) {
      await mkdir(join(dir, "code"));
      const other = await checkOutVersion(flags.against, join(dir, "code"));
      await benchProtocols(join(dir, "code"), other);
    }
    if (isWanted("bucket")) await benchBucket(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

await main();
