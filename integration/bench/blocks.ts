/** Blocks of the generated data set in a data folder, as an ingester would have left them. */
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ulid } from "ulid";
import { blockPath, tableColumns, toBlockFile } from "#pkg/block/block-file.ts";
import { cutHead } from "#pkg/block/cut.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { Head } from "#pkg/columns/head.ts";
import { HeadDecoder } from "#pkg/columns/head-decode.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import { SplitScratch } from "#pkg/otlp/split-scratch.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import { openTable } from "#pkg/table/delta-table.ts";
import { singleTenant } from "#pkg/tenant/tenant-name.ts";
import { generateDataset } from "./dataset.ts";

interface BlocksOptions {
  /** The data folder; the blocks go to `bucket` in it. */
  dataDir: string;
  blocks: number;
  spansPerBlock: number;
  partitionCount: number;
  seed: number;
  /** Start of the first span, nanoseconds since the epoch, and time that all blocks take. */
  startNano: bigint;
  spreadNano: bigint;
}

export interface BuiltBlocks {
  spans: number;
  sizeBytes: number;
  /** Paths of the files. */
  files: string[];
}

/** Builds the blocks of the last hour, or takes what an earlier run has left in the folder. */
export async function blocksIn(
  dataDir: string,
  size: { blocks: number; spansPerBlock: number },
): Promise<BuiltBlocks> {
  const note = join(dataDir, `built-${size.blocks}-${size.spansPerBlock}.json`);
  if (existsSync(note)) return JSON.parse(await readFile(note, "utf8")) as BuiltBlocks;
  const spreadNano = 3600n * 1_000_000_000n;
  const built = await buildBlocks({
    ...size,
    dataDir,
    partitionCount: 4,
    seed: 1,
    startNano: BigInt(Date.now()) * 1_000_000n - spreadNano,
    spreadNano,
  });
  await writeFile(note, JSON.stringify(built));
  return built;
}

/** Builds blocks one after the other in time, a round of partitions at once. */
export async function buildBlocks(options: BlocksOptions): Promise<BuiltBlocks> {
  const { dataDir, blocks, spansPerBlock, partitionCount } = options;
  const bucket = join(dataDir, "bucket");
  await mkdir(bucket, { recursive: true });
  const store = await openFsStore(bucket);
  const log = openLog("silent");
  const table = openTable({ store, tenant: singleTenant, clock: systemClock, log });
  const built: BuiltBlocks = { spans: 0, sizeBytes: 0, files: [] };
  const rounds = Math.ceil(blocks / partitionCount);
  const spreadNano = options.spreadNano / BigInt(rounds);
  for (let round = 0; round < rounds; round++) {
    const dataset = generateDataset({
      spans: spansPerBlock * Math.min(partitionCount, blocks - round * partitionCount),
      seed: options.seed * 100_003 + round,
      startNano: options.startNano + spreadNano * BigInt(round),
      spreadNano,
      hasCoupons: true,
    });
    for (const [index, head] of headsOf(dataset.requests, partitionCount).entries()) {
      if (head.rows === 0) continue;
      const partition = { index, count: partitionCount };
      const block = cutHead(head.freeze(), {
        rowGroupSpans: 100_000,
        plausibleFromNano: 0n,
        plausibleToNano: 2n ** 63n - 1n,
        partition,
        createdBy: "spoor bench",
        tableColumns: [...table.snapshot.columns.keys()],
      });
      const nowMs = Date.now();
      const path = blockPath(ulid(nowMs), nowMs);
      const sizeBytes = block.bytes.length;
      await store.put(`${singleTenant}/${path}`, block.bytes);
      const file = toBlockFile(block, { path, sizeBytes, modifiedMs: nowMs, partition });
      await table.commit({
        add: [file],
        columns: tableColumns(block.columns),
        operation: "WRITE",
        dataChange: true,
      });
      built.spans += block.spans;
      built.sizeBytes += sizeBytes;
      built.files.push(join(bucket, singleTenant, path));
    }
  }
  return built;
}

function headsOf(requests: readonly Uint8Array[], partitionCount: number): Head[] {
  const scratch = new SplitScratch();
  const heads = Array.from({ length: partitionCount }, (_, i) => new Head(i + 1));
  const decoders = heads.map((head) => new HeadDecoder(head));
  for (const body of requests) {
    for (const { partition, record } of splitRequest(body, { partitionCount, scratch }).parts) {
      decoders[partition].decode(record);
    }
  }
  return heads;
}
