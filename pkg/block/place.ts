/** Where a part of the index section stands in its file, and its checksum. */
import { crc32 } from "node:zlib";
import { z } from "zod";
import { SpoorError } from "#pkg/errors/errors.ts";

/** A part of the index section: where it is, and the CRC-32 of its bytes. */
export interface Place {
  offset: number;
  sizeBytes: number;
  crc: number;
}

const count: z.ZodType<number> = z.number().int().nonnegative();
export const placeSchema: z.ZodType<Place> = z.object({
  offset: count,
  sizeBytes: count,
  crc: count,
});

/** Takes bytes as the next part of the section, and says where they are. */
export type PartWriter = (bytes: Uint8Array) => Place;

/** Checks a part against its CRC. Throws Corrupt naming the part. */
export function checkPart(bytes: Uint8Array, place: Place, what: string): void {
  if (bytes.length !== place.sizeBytes || crc32(bytes) !== place.crc) {
    throw new SpoorError("Corrupt", `checksum of ${what} does not match`);
  }
}
