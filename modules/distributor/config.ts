/** Settings of the distributor. */
import { z } from "zod";

export interface DistributorConfig {
  retryAfterMs: number;
  splitThreads: number;
}

const positive: z.ZodNumber = z.number().int().positive();

export const distributorConfig: z.ZodType<
  DistributorConfig,
  Partial<DistributorConfig>
> = z.strictObject({
  retryAfterMs: positive
    .default(5000)
    .describe("Retry delay sent to clients whose spans cannot be accepted now, ms."),
  splitThreads: positive
    .max(64)
    .default(2)
    .describe("Threads that split requests over 1 MiB; they run only while such requests come."),
});
