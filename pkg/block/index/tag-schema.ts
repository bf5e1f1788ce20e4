/** Validates tag indexes (tag-index.ts) read from a block. */
import { z } from "zod";
import { SpoorError } from "#pkg/errors/errors.ts";
import { bloomShapeSchema } from "./bloom-schema.ts";
import {
  type ItemScope,
  itemScopes,
  keysMax,
  type TagEntry,
  type TagIndex,
  type TagType,
  valuesMax,
} from "./tag-index.ts";

const count: z.ZodType<number> = z.number().int().nonnegative();
/** The fields that an entry of a list of keys has in every version. */
export const entryFacts: {
  key: z.ZodString;
  type: z.ZodType<TagType>;
  rows: z.ZodType<number>;
  min: z.ZodOptional<z.ZodString>;
  max: z.ZodOptional<z.ZodString>;
  truncated: z.ZodBoolean;
} = {
  key: z.string(),
  type: z.enum(["string", "int64", "double", "bool", "other"]),
  rows: count,
  min: z.string().max(40).optional(),
  max: z.string().max(40).optional(),
  truncated: z.boolean(),
};
export const valuesSchema: z.ZodType<TagEntry["values"]> = z
  .array(z.tuple([z.string(), count]))
  .max(valuesMax);
const entrySchema: z.ZodType<TagEntry> = z.object({
  ...entryFacts,
  values: valuesSchema,
  bloom: z.object({ shape: bloomShapeSchema, shards: z.array(z.base64()) }).optional(),
});
/** Scopes that this code does not know are dropped. */
export const coversSchema: z.ZodType<ItemScope[]> = z
  .array(z.string().max(100))
  .max(16)
  .default([])
  .transform((names) => itemScopes.filter((scope) => names.includes(scope)));
const indexSchema: z.ZodType<TagIndex> = z.object({
  entries: z.array(entrySchema).max(keysMax),
  truncated: z.boolean(),
  covers: coversSchema,
});

/** Validates a version 1 tag index. Throws Corrupt. */
export function parseTagIndex(value: unknown): TagIndex {
  const parsed = indexSchema.safeParse(value);
  const wrong = parsed.success
    ? parsed.data.entries.find(({ bloom }) => bloom && bloom.shards.length !== bloom.shape.shards)
    : undefined;
  if (parsed.success && wrong === undefined) return parsed.data;
  const why = wrong === undefined ? parsed.error!.message : `key ${wrong.key} lacks filter shards`;
  throw new SpoorError("Corrupt", `tag index is not valid: ${why.slice(0, 300)}`);
}
