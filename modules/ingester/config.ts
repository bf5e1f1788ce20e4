/** Settings of the ingester. */
import { z } from "zod";

export interface IngesterConfig {
  cutSpans: number;
  cutBytes: number;
  cutAgeMs: number;
  cutLogBytes: number;
  rowGroupSpans: number;
  headBytesMax: number;
  closedHeadsMax: number;
  cutThreads: number;
  cutIdleMs: number;
  cutWasmBytesMax: number;
  readBytes: number;
  searchThreads: number;
  searchThreadsMax: number;
  searchesQueuedMax: number;
  searchTimeoutMs: number;
  pinMs: number;
  quarantineBytesMax: number;
}

const positive: z.ZodNumber = z.number().int().positive();

export const ingesterConfig: z.ZodType<IngesterConfig, Partial<IngesterConfig>> = z.strictObject({
  cutSpans: positive
    .default(500_000)
    .describe("A head becomes a block when it has this many spans."),
  cutBytes: positive
    .default(512 * 1024 * 1024)
    .describe("A head becomes a block when it takes this memory, bytes (about 8 times its block)."),
  cutAgeMs: positive
    .default(5 * 60_000)
    .describe("A head becomes a block when its first span is this old, milliseconds."),
  cutLogBytes: positive
    .default(512 * 1024 * 1024)
    .describe(
      "A head becomes a block when its partition's log has grown by this many bytes (of all " +
        "tenants) since the head's first record: the log cannot be trimmed beyond that record.",
    ),
  rowGroupSpans: positive.default(100_000).describe("Spans per row group of a block."),
  headBytesMax: positive
    .default(2 * 1024 * 1024 * 1024)
    .describe(
      "Most memory of all heads, bytes. At this limit the log is not read until a block is stored.",
    ),
  closedHeadsMax: positive
    .default(2)
    .describe("Most closed heads of one tenant and partition that wait for storage."),
  cutThreads: positive.default(1).describe("Threads that encode blocks."),
  cutIdleMs: positive
    .max(24 * 3_600_000)
    .default(60_000)
    .describe("An idle cutter thread ends and frees its memory after this time, milliseconds."),
  cutWasmBytesMax: positive
    .default(1024 * 1024 * 1024)
    .describe("A cutter thread is replaced when its WASM memory reaches this size, bytes."),
  readBytes: positive
    .default(512 * 1024)
    .describe("Bytes of the log that are decoded between live queries."),
  searchThreads: positive
    .max(64)
    .default(2)
    .describe("Most threads that search heads for one tenant; as many idle threads are kept."),
  searchThreadsMax: positive
    .max(256)
    .default(6)
    .describe("Most threads that search heads for all tenants together."),
  searchesQueuedMax: positive
    .default(10_000)
    .describe("Most requests to heads that wait for a thread; further requests are refused."),
  searchTimeoutMs: positive
    .default(30_000)
    .describe("Timeout of one request to a head, milliseconds; its thread is replaced."),
  pinMs: positive
    .default(120_000)
    .describe("Longest time that a query may pin heads, milliseconds."),
  quarantineBytesMax: positive
    .default(1024 * 1024 * 1024)
    .describe(
      "Most bytes in the quarantine folder, which holds records that could not become a block. " +
        "Beyond it, heads with such records wait.",
    ),
});
