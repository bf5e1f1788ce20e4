/** The location of a part of the index section in its file, and its checksum. */
import { crc32 } from "node:zlib";
import { z } from "zod";
import { SpoorError } from "#pkg/errors/errors.ts";

/** The location of a part of the index section, and the CRC-32 of its bytes. */
export interface PartLocation {
  offset: number;
  sizeBytes: number;
  crc: number;
}

const count: z.ZodType<number> = z.number().int().nonnegative();
export const partLocationSchema: z.ZodType<PartLocation> = z.object({
  offset: count,
  sizeBytes: count,
  crc: count,
});

/** Appends a part to the section and returns its location. */
export type PartWriter = (bytes: Uint8Array) => PartLocation;

/** Checks a part against its CRC. Throws Corrupt naming the part. */
export function checkPart(bytes: Uint8Array, place: PartLocation, what: string): void {
  if (bytes.length !== place.sizeBytes || crc32(bytes) !== place.crc) {
    throw new SpoorError("Corrupt", `checksum of ${what} does not match`);
  }
}
