/**
 * Encodes a tag index as parts of the index section: a list of keys, and a separate part for each
 * key with many values, so that a query for one key reads few bytes.
 *
 *     | values of a key | values of a key | ...            ...  | keys |
 *            ^-- place --------------------------------------------'
 *
 * In version 1 the whole index is one part.
 */
import { z } from "zod";
import { SpoorError } from "#pkg/errors/errors.ts";
import { bloomShapeSchema } from "./bloom-schema.ts";
import { packJson, unpackJson } from "./packed-json.ts";
import { type PartWriter, type PartLocation, partLocationSchema } from "#pkg/block/place.ts";
import { keysMax, type TagEntry, type TagIndex } from "./tag-index.ts";
import { coversSchema, entryFacts, parseTagIndex, valuesSchema } from "./tag-schema.ts";

/** The values of a key, and the filter of all of them. */
export type TagValuesPart = Pick<TagEntry, "values" | "bloom">;

/** An entry of the list of keys: with its values, or with the location of their part. */
export interface TagKey extends Omit<TagEntry, "values" | "bloom"> {
  values?: TagEntry["values"];
  place?: PartLocation;
}

export interface TagKeys extends Omit<TagIndex, "entries"> {
  entries: TagKey[];
}

/** Most JSON of values that stay in the list of keys, bytes; a separate part costs about 60. */
const inlineBytesMax = 400;

const keySchema: z.ZodType<TagKey> = z.object({
  ...entryFacts,
  values: valuesSchema.optional(),
  place: partLocationSchema.optional(),
});
const keysSchema: z.ZodType<TagKeys> = z.object({
  entries: z.array(keySchema).max(keysMax),
  truncated: z.boolean(),
  covers: coversSchema,
});
const valuesPartSchema: z.ZodType<TagValuesPart> = z.object({
  values: valuesSchema,
  bloom: z.object({ shape: bloomShapeSchema, shards: z.array(z.base64()) }).optional(),
});

/** Encodes the list of keys of an index; writes the values of large entries with `place`. */
export function encodeTagKeys({ entries, ...facts }: TagIndex, place: PartWriter): Uint8Array {
  const keys = entries.map(({ values, bloom, ...key }): TagKey => {
    const isSmall = bloom === undefined && jsonBytes(values) <= inlineBytesMax;
    return isSmall ? { ...key, values } : { ...key, place: place(packJson({ values, bloom })) };
  });
  return packJson({ entries: keys, ...facts } satisfies TagKeys);
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** Decodes a list of keys of this version; for version 1, a whole index. Throws Corrupt. */
export function decodeTagKeys(bytes: Uint8Array, version: number): TagKeys | TagIndex {
  const value = unpackJson(bytes, "tag index");
  if (version === 1) return parseTagIndex(value);
  const parsed = keysSchema.safeParse(value);
  if (!parsed.success) throw invalid(parsed.error.message);
  const wrong = parsed.data.entries.find(
    ({ values, place }) => (values === undefined) === (place === undefined),
  );
  if (wrong !== undefined) throw invalid(`key ${wrong.key} has no values, or has them twice`);
  return parsed.data;
}

/** Decodes the values of a key. Throws Corrupt. */
export function decodeTagValues(bytes: Uint8Array): TagValuesPart {
  const parsed = valuesPartSchema.safeParse(unpackJson(bytes, "values of a tag"));
  if (!parsed.success) throw invalid(parsed.error.message);
  const { bloom } = parsed.data;
  if (bloom !== undefined && bloom.shards.length !== bloom.shape.shards) {
    throw invalid(`a filter has ${bloom.shards.length} of ${bloom.shape.shards} shards`);
  }
  return parsed.data;
}

function invalid(why: string): SpoorError {
  return new SpoorError("Corrupt", `tag index is not valid: ${why.slice(0, 300)}`);
}

/** Returns the locations of separate value parts, in the order of the keys. */
export function valueLocations({ entries }: TagKeys | TagIndex): PartLocation[] {
  return entries.flatMap((entry) => ("place" in entry ? (entry.place ?? []) : []));
}

/** Completes the entries of a list of keys; `valuesAt` returns the values of a separate part. */
export function withValues(
  entries: readonly (TagKey | TagEntry)[],
  valuesAt: (place: PartLocation) => TagValuesPart,
): TagEntry[] {
  return entries.map((entry): TagEntry => {
    if (!("place" in entry) || entry.place === undefined) return entry as TagEntry;
    const { place, values: _none, ...facts } = entry;
    return { ...facts, ...valuesAt(place) };
  });
}
