/**
 * Reads objects in Google Cloud Storage, whole and in ranges.
 *
 * The client must not have its stream destroyed: before the response arrives this throws an
 * uncatchable error, which ends the process; later it breaks the next request on the connection.
 * So an abort returns to the caller at once, and the rest of the stream is read and discarded.
 */
import { EventEmitter } from "node:events";
import type { File } from "@google-cloud/storage";
import { readBody } from "#pkg/objstore/body.ts";
import { abortable, objectTooLarge, readBytesMax, shortObject } from "#pkg/objstore/checks.ts";
import { gcsStatusOf } from "./gcs-errors.ts";
import type { ObjectRange } from "#pkg/objstore/object-store.ts";

const listenersMax = 32;

/** Reads an object and verifies its checksum. Throws the client's error; TooLarge. */
export async function readWhole(
  file: File,
  { key, signal }: { key: string; signal: AbortSignal | undefined },
): Promise<Uint8Array> {
  const body = file.createReadStream({ validation: "crc32c", decompress: false });
  body.on("response", allowListeners);
  const read = async (): Promise<Uint8Array> => {
    const chunks: Uint8Array[] = [];
    let sizeBytes = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      sizeBytes += chunk.length;
      if (sizeBytes > readBytesMax) throw objectTooLarge(key, sizeBytes);
      if (signal?.aborted) chunks.length = 0;
      else chunks.push(chunk);
    }
    if (signal?.aborted) return new Uint8Array(0);
    // A new array and not a pooled Buffer, because the caller owns the bytes.
    const bytes = new Uint8Array(sizeBytes);
    let filled = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, filled);
      filled += chunk.length;
    }
    return bytes;
  };
  return await abortable(read(), signal, `read object ${key}`);
}

/** Reads a range. Throws the client's error; Corrupt if the object ends before the range does. */
export async function readRange(
  file: File,
  { key, start, end, signal }: ObjectRange & { signal: AbortSignal | undefined },
): Promise<Uint8Array> {
  const range = { start, end: end - 1, validation: false, decompress: false } as const;
  let total: number | undefined;
  const body = file.createReadStream(range).on("response", (response: unknown) => {
    allowListeners(response);
    total = totalOf(response);
  });
  try {
    const read = readBody(body, { key, sizeBytes: end - start, signal, isDrained: true });
    return await abortable(read, signal, `read object ${key}`);
  } catch (error) {
    const isShort = gcsStatusOf(error) === 416 || (total !== undefined && total < end);
    throw isShort ? shortObject(key, end, total) : error;
  }
}

/** Raises the listener limit: the client adds so many that Node warns of a leak that is none. */
function allowListeners(response: unknown): void {
  const { body } = response as { body?: unknown };
  if (body instanceof EventEmitter) body.setMaxListeners(listenersMax);
}

/** Returns the size of the whole object, from the `Content-Range` of a ranged response. */
function totalOf(response: unknown): number | undefined {
  const { headers } = response as { headers?: unknown };
  const range =
    headers instanceof Headers
      ? headers.get("content-range")
      : (headers as Record<string, string | undefined> | undefined)?.["content-range"];
  const total = /\/(\d+)$/u.exec(range ?? "")?.[1];
  return total === undefined ? undefined : Number(total);
}
