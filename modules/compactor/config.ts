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
      .describe("Time between two cycles, milliseconds; each is up to a fifth shorter or longer."),
    blockRetentionMs: positive
      .default(14 * 24 * 3_600_000)
      .describe("Blocks are removed when they were ingested this long ago, milliseconds."),
    deleteGraceMs: positive
      .default(3_600_000)
      .describe("Objects of removed blocks are kept this long, for queries that started before."),
    orphanAgeMs: z
      .number()
      .int()
      .min(3_600_000)
      .default(24 * 3_600_000)
      .describe("Block objects that no commit names are deleted at this age, milliseconds."),
    removesPerCommit: positive
      .max(10_000)
      .default(1000)
      .describe("Blocks that one commit removes."),
    removesPerCycle: positive
      .default(20_000)
      .describe("Blocks of one tenant that one cycle removes; the rest waits for the next."),
    listedPerCycle: positive
      .default(50_000)
      .describe(
        "Block objects of one tenant that one cycle looks at; the next goes on from there.",
      ),
    clockSkewMs: positive
      .default(10 * 60_000)
      .describe("If this clock and the bucket's differ by more, nothing is removed, milliseconds."),
    checkpointCommits: positive
      .default(100)
      .describe("Commits after which the whole table is written down, for fresh processes."),
    logAgeMs: z
      .number()
      .int()
      .min(3_600_000)
      .default(7 * 24 * 3_600_000)
      .describe("How long commits that a checkpoint covers, and marks of removed blocks, stay."),
  },
);
