/** Reads ranges of objects in Google Cloud Storage. */
import { EventEmitter } from "node:events";
import type { File } from "@google-cloud/storage";
import { readBody } from "./body.ts";
import { shortObject } from "./checks.ts";
import { gcsStatusOf } from "./gcs-errors.ts";
import type { ObjectRange } from "./objstore.ts";

const listenersMax = 32;

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
    return await readBody(body, { key, sizeBytes: end - start, signal });
  } catch (error) {
    const isShort = gcsStatusOf(error) === 416 || (total !== undefined && total < end);
    throw isShort ? shortObject(key, end, total) : error;
  }
}

/** The client pipes a body through itself so often that Node warns of a leak, which it is not. */
export function allowListeners(response: unknown): void {
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
