/** Settings of the distributor. */
import { z } from "zod";

export interface DistributorConfig {
  retryAfterMs: number;
}

export const distributorConfig: z.ZodType<
  DistributorConfig,
  Partial<DistributorConfig>
> = z.strictObject({
  retryAfterMs: z
    .number()
    .int()
    .positive()
    .default(5000)
    .describe("What clients are told to wait when their spans can not be taken now, ms."),
});
