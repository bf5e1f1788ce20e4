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
  /** Chunk size of a resumable upload; undefined: one request. */
  chunkBytes: number | undefined;
  /** Checksum of all bytes; undefined if not known yet: then the client sends it at the end. */
  sum: string | undefined;
  /** Undefined: the class of the options, or the bucket's default. */
  storageClass?: string;
  signal: AbortSignal | undefined;
}

/** Uploads the bytes of `source` as an object with its checksum. Throws the client's error. */
export async function sendObject(file: File, source: Readable, send: SendOptions): Promise<void> {
  const { options, isConditional = false, chunkBytes, sum, signal } = send;
  const storageClass = send.storageClass ?? (isConditional ? "" : options.storageClass);
  const isResumable = chunkBytes !== undefined;
  const target = file.createWriteStream({
    resumable: isResumable,
    ...(isResumable ? { chunkSize: Math.ceil(chunkBytes / chunkUnit) * chunkUnit } : {}),
    // With a checksum in the metadata the server verifies the bytes; otherwise the client does.
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

/** Returns the metadata of every object of this store. */
export function metadataOf({ tags }: GcsOptions): {
  contentType: string;
  metadata?: Record<string, string>;
} {
  return {
    contentType: "application/octet-stream",
    ...(Object.keys(tags).length === 0 ? {} : { metadata: { ...tags } }),
  };
}

/** Returns the CRC-32C in base64, the form in which the protocol sends it. */
export function sumOf(bytes: Uint8Array): string {
  const sum = new CRC32C();
  sum.update(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  return sum.toString();
}
