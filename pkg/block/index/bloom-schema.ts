/** Validates a filter's shape (bloom.ts) read from a block or a commit. */
import { z } from "zod";
import { type BloomShape, shardBitsMax } from "./bloom.ts";

export const bloomShapeSchema: z.ZodType<BloomShape> = z.object({
  shards: z.number().int().positive().max(1_000_000),
  bitsPerShard: z.number().int().positive().max(shardBitsMax).multipleOf(8),
  hashes: z.number().int().min(1).max(16),
});
