/** Uploads to Google Cloud Storage: in one request, or in chunks (a "resumable" upload). */
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CRC32C, type File } from "@google-cloud/storage";
import type { GcsOptions } from "./gcs-options.ts";

/** Chunks are multiples of this. */
const chunkUnit = 256 * 1024;

export interface SendOptions {
  options: GcsOptions;
  /** Status 412 if the object exists. */
  isConditional?: boolean;
  /** Undefined: one request. */
  chunkBytes: number | undefined;
  /** Of all bytes; undefined if only their end tells: then the last chunk carries it. */
  sum: string | undefined;
  /** Undefined: the one of the options, or the bucket's. */
  storageClass?: string;
  signal: AbortSignal | undefined;
}

/** Sends what `source` gives as an object, under its checksum. Throws the client's error. */
export async function sendObject(file: File, source: Readable, send: SendOptions): Promise<void> {
  const { options, isConditional = false, chunkBytes, sum, signal } = send;
  const storageClass = send.storageClass ?? (isConditional ? "" : options.storageClass);
  const isResumable = chunkBytes !== undefined;
  const target = file.createWriteStream({
    resumable: isResumable,
    ...(isResumable ? { chunkSize: Math.ceil(chunkBytes / chunkUnit) * chunkUnit } : {}),
    // The server refuses what has another sum; with one in the metadata the client needs none.
    validation: sum === undefined ? "crc32c" : false,
    metadata: {
      ...(sum === undefined ? {} : { crc32c: sum }),
      ...metadataOf(options),
      ...(storageClass === "" ? {} : { storageClass }),
    },
    ...(isConditional ? { preconditionOpts: { ifGenerationMatch: 0 } } : {}),
  });
  await pipeline(source, target, { signal });
}

/** What every object of this store is written with. */
export function metadataOf({ tags }: GcsOptions): {
  contentType: string;
  metadata?: Record<string, string>;
} {
  return {
    contentType: "application/octet-stream",
    ...(Object.keys(tags).length === 0 ? {} : { metadata: { ...tags } }),
  };
}

export function sumOf(bytes: Uint8Array): string {
  const sum = new CRC32C();
  sum.update(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  return sum.toString();
}
