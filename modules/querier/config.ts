/** Settings of the querier. Sizes are bytes, durations milliseconds. */
import { z } from "zod";

export interface QuerierConfig {
  threads: number;
  spareThreads: number;
  jobsQueuedMax: number;
  jobTimeoutMs: number;
  openBlocksMax: number;
  openBlockBytes: number;
  threadMemoryBytesMax: number;
  bloomCacheBytes: number;
  snapshotAgeMaxMs: number;
}

const positive: z.ZodNumber = z.number().int().positive();
const mebibyte = 1024 * 1024;

export const querierConfig: z.ZodType<QuerierConfig, Partial<QuerierConfig>> = z.strictObject({
  threads: positive.max(64).default(2).describe("Worker threads that read blocks."),
  spareThreads: z
    .number()
    .int()
    .min(0)
    .max(64)
    .default(1)
    .describe("Extra threads for tenants that have no job running while all threads are busy."),
  jobsQueuedMax: positive
    .max(1_000_000)
    .default(10_000)
    .describe("Jobs that may wait for a thread; further ones are refused."),
  jobTimeoutMs: positive
    .default(30_000)
    .describe("Longest time of one job, milliseconds; then its thread is replaced."),
  openBlocksMax: positive
    .max(10_000)
    .default(1024)
    .describe("Blocks that each thread keeps open (their indexes and footers)."),
  openBlockBytes: positive
    .default(96 * mebibyte)
    .describe("Memory of each thread for indexes, decoded tags and footers of open blocks, bytes."),
  threadMemoryBytesMax: positive
    .default(512 * mebibyte)
    .describe("WASM memory (which never shrinks) above which a thread is replaced, bytes."),
  bloomCacheBytes: positive
    .default(64 * mebibyte)
    .describe("Memory for bloom filters of blocks, bytes."),
  snapshotAgeMaxMs: z
    .number()
    .int()
    .nonnegative()
    .default(5000)
    .describe("Longest time until commits of other processes are seen, milliseconds."),
});
