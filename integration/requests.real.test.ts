/**
 * Requests to the bucket per operation, counted by the real binary over all of its threads, on
 * MinIO with the caches of remote stores: no range is requested twice.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  blockCount,
  makeManyBlocks,
  partitionCount,
  requestsOf,
  tracesPerBlock,
} from "#integration/parts/many-blocks.ts";
import { find } from "#integration/parts/spans.ts";
import { makeS3Bucket } from "#integration/parts/buckets.ts";
import { type Minio, startMinio } from "#integration/parts/minio.ts";
import { s3StorageYaml } from "#integration/parts/spoor-on-bucket.ts";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { openS3Store } from "#pkg/objstore/s3/s3.ts";

/** Repeated operations: each may open a block on a thread that did not have it open. */
const roundsMax = 8;
let config = "";
let dir = "";
let dataDir = "";
let minio: Minio;
let spoor: SpoorProcess;
let firstTraces: SpanSpec[][] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-requests-"));
  dataDir = join(dir, "data");
  for (const name of ["data", "minio"]) await mkdir(join(dir, name));
  minio = await startMinio({ dir: join(dir, "minio") });
  const options = await makeS3Bucket(minio, "many");
  firstTraces = await makeManyBlocks(openS3Store(options));
  config = `span_log: {free_bytes_min: 1MiB}\nquerier: {threads: 2}\n${s3StorageYaml(options)}`;
  spoor = await startSpoorProcess({ dataDir, config });
  await spoor.ready();
});

afterAll(async () => {
  await spoor.stop();
  await minio.stop();
  await rm(dir, { recursive: true, force: true });
});

it("what was read is hardly asked for again, and then not at all, also after a restart", async () => {
  const search = async (): Promise<void> => {
    const query = new URLSearchParams({ q: '{ span.block = "b500" }', limit: "20" });
    const response = await fetch(`${spoor.address}/api/search?${query.toString()}`);
    const { traces } = (await response.json()) as { traces: unknown[] };
    expect(traces).toHaveLength(tracesPerBlock);
  };
  const lookUp = async (): Promise<void> => {
    const found = await find(spoor.address, firstTraces[1][0].traceId);
    expect(found).toMatchObject({ partial: undefined, status: 200 });
    expect(found.spanIds).toHaveLength(3);
  };
  // Any thread may get any block. Each has its own memory cache; they share the disk cache. A range
  // that is still being written to disk may be requested once more. Which ranges of a block are
  // read together depends on what the thread has open.
  const settle = async (again: () => Promise<void>): Promise<void> => {
    for (let round = 0; round < roundsMax; round++) {
      const { getRange = 0 } = await requestsOf(spoor.address, again);
      expect(getRange).toBeLessThan(20);
      if (getRange === 0) return;
    }
    throw new Error(`still asks the bucket after ${roundsMax} rounds`);
  };
  const cold = await requestsOf(spoor.address, search);
  expect(cold.getRange).toBeGreaterThanOrEqual(blockCount);
  await settle(search);
  // A trace of another partition than the search's, whose bloom filters are cached by now.
  const found = await requestsOf(spoor.address, lookUp);
  expect(found.getRange).toBeGreaterThan(blockCount / partitionCount);
  await settle(lookUp);
  expect(await spoor.stop()).toBe(0);
  spoor = await startSpoorProcess({ dataDir, config });
  await spoor.ready();
  for (const again of [search, lookUp]) await settle(again);
});
