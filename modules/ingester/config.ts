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
    .describe("A head is cut into a block when it holds this many spans."),
  cutBytes: positive
    .default(512 * 1024 * 1024)
    .describe("A head is cut when it takes this much memory, bytes (about 8 times its block)."),
  cutAgeMs: positive
    .default(5 * 60_000)
    .describe("A head is cut when its first span is this old, milliseconds."),
  cutLogBytes: positive
    .default(512 * 1024 * 1024)
    .describe(
      "A head is cut when its partition's log has this many bytes since its first record, of all " +
        "tenants: the log can not be trimmed beyond it.",
    ),
  rowGroupSpans: positive.default(100_000).describe("Spans per row group of a block."),
  headBytesMax: positive
    .default(2 * 1024 * 1024 * 1024)
    .describe("Memory of all heads of all partitions and tenants, bytes; beyond it the log waits."),
  closedHeadsMax: positive
    .default(2)
    .describe("Heads of one tenant and partition that may wait for their block to be stored."),
  cutThreads: positive.default(1).describe("Threads that encode blocks."),
  cutIdleMs: positive
    .max(24 * 3_600_000)
    .default(60_000)
    .describe("After so long without a cut a cutter thread ends and gives its memory back."),
  cutWasmBytesMax: positive
    .default(1024 * 1024 * 1024)
    .describe("WASM memory at which a cutter thread is replaced, bytes."),
  readBytes: positive
    .default(512 * 1024)
    .describe("Bytes of the log that are decoded before live queries get their turn."),
  searchThreads: positive
    .max(64)
    .default(2)
    .describe("Threads that search heads for one tenant at a time; so many stay without work."),
  searchThreadsMax: positive
    .max(256)
    .default(6)
    .describe("Threads that search heads for all tenants at a time."),
  searchesQueuedMax: positive
    .default(10_000)
    .describe("Questions to heads that may wait for a thread; more are refused."),
  searchTimeoutMs: positive
    .default(30_000)
    .describe("How long one question to a head may take, milliseconds; its thread is replaced."),
  pinMs: positive
    .default(120_000)
    .describe("How long a query may hold on to heads that were already stored, milliseconds."),
  quarantineBytesMax: positive
    .default(1024 * 1024 * 1024)
    .describe(
      "Records that could not become a block, in the quarantine folder, bytes; beyond it their " +
        "tenant's heads wait.",
    ),
});
