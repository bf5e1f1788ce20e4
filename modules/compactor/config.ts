/** Settings of the compactor. */
import { z } from "zod";

export interface CompactorConfig {
  intervalMs: number;
  blockRetentionMs: number;
  deleteGraceMs: number;
  orphanAgeMs: number;
  removesPerCommit: number;
  removesPerCycle: number;
  listedPerCycle: number;
  clockSkewMs: number;
  checkpointCommits: number;
  logAgeMs: number;
}

const positive: z.ZodNumber = z.number().int().positive();

export const compactorConfig: z.ZodType<CompactorConfig, Partial<CompactorConfig>> = z.strictObject(
  {
    intervalMs: positive
      .default(5 * 60_000)
      .describe("Time between two cycles, milliseconds, plus or minus up to a fifth."),
    blockRetentionMs: positive
      .default(14 * 24 * 3_600_000)
      .describe("Age of ingestion at which blocks are removed, milliseconds."),
    deleteGraceMs: positive
      .default(3_600_000)
      .describe("Time that objects of removed blocks are kept for running queries, milliseconds."),
    orphanAgeMs: z
      .number()
      .int()
      .min(3_600_000)
      .default(24 * 3_600_000)
      .describe("Age at which block objects that no commit names are deleted, milliseconds."),
    removesPerCommit: positive
      .max(10_000)
      .default(1000)
      .describe("Blocks that one commit removes."),
    removesPerCycle: positive
      .default(20_000)
      .describe("Blocks of one tenant that one cycle removes; the next cycle removes the rest."),
    listedPerCycle: positive
      .default(50_000)
      .describe(
        "Block objects of one tenant that one cycle lists; the next cycle continues there.",
      ),
    clockSkewMs: positive
      .default(10 * 60_000)
      .describe("Difference to the bucket's clock above which nothing is removed, milliseconds."),
    checkpointCommits: positive
      .default(100)
      .describe("Commits after which a checkpoint of the table is written, for fresh processes."),
    logAgeMs: z
      .number()
      .int()
      .min(3_600_000)
      .default(7 * 24 * 3_600_000)
      .describe(
        "Time that commits covered by a checkpoint, and tombstones, are kept, milliseconds.",
      ),
  },
);
