/**
 * Reads objects in Google Cloud Storage, whole and in ranges.
 *
 * The client fails where nobody can catch it, which ends the process, when its stream is destroyed
 * before the answer has come; after that, the next request on its connection fails. So who aborts
 * is answered at once, and the rest of the stream is read and thrown away.
 */
import { EventEmitter } from "node:events";
import type { File } from "@google-cloud/storage";
import { readBody } from "./body.ts";
import { abortable, objectTooLarge, readBytesMax, shortObject } from "./checks.ts";
import { gcsStatusOf } from "./gcs-errors.ts";
import type { ObjectRange } from "./objstore.ts";

const listenersMax = 32;

/** All bytes of an object, checked against their checksum. Throws the client's error; TooLarge. */
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
    // Not of the pool of small buffers: the caller owns the bytes.
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

/** Throws the client's error; Corrupt if the object ends before the range. */
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

/** The client pipes a body through itself so often that Node warns of a leak, which it is not. */
function allowListeners(response: unknown): void {
  const { body } = response as { body?: unknown };
  if (body instanceof EventEmitter) body.setMaxListeners(listenersMax);
}

/** Size of the whole object, from the `Content-Range` of a part of it. */
function totalOf(response: unknown): number | undefined {
  const { headers } = response as { headers?: unknown };
  const range =
    headers instanceof Headers
      ? headers.get("content-range")
      : (headers as Record<string, string | undefined> | undefined)?.["content-range"];
  const total = /\/(\d+)$/u.exec(range ?? "")?.[1];
  return total === undefined ? undefined : Number(total);
}
