/** Reads ranges of objects in S3. */
import { GetObjectCommand, type GetObjectCommandOutput, type S3Client } from "@aws-sdk/client-s3";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { readBody } from "#pkg/objstore/body.ts";
import { shortObject } from "#pkg/objstore/checks.ts";
import type { ObjectRange } from "#pkg/objstore/object-store.ts";
import { statusOf } from "./s3-errors.ts";

export interface RangeRead extends ObjectRange {
  signal: AbortSignal | undefined;
  /** Expected tag; the server responds with status 412 if the object has another one. */
  tag?: string;
  /** Receives the bytes; a new array by default. */
  into?: Uint8Array;
}

/** Reads a range. Throws the SDK's error; Corrupt if the object ends before the range does. */
export async function readRange(
  { client, bucket }: { client: S3Client; bucket: string },
  { key, start, end, signal, tag, into }: RangeRead,
): Promise<Uint8Array> {
  const input = { Bucket: bucket, Key: key, IfMatch: tag, Range: `bytes=${start}-${end - 1}` };
  let response: GetObjectCommandOutput;
  try {
    response = await client.send(new GetObjectCommand(input), { abortSignal: signal });
  } catch (error) {
    if (statusOf(error) === 416) throw shortObject(key, end, undefined);
    throw error;
  }
  const total = /\/(\d+)$/u.exec(response.ContentRange ?? "")?.[1];
  const sizeBytes = total === undefined ? undefined : Number(total);
  const isShort = response.ContentLength !== end - start;
  // A server that ignores ranges sends the whole object.
  if (isShort || total === undefined)
    throw await refuse(response, shortObject(key, end, sizeBytes));
  return await readBody(response.Body, { key, sizeBytes: end - start, signal, into });
}

/** Discards a response without reading its body, which releases its connection; returns `error`. */
export async function refuse(
  response: GetObjectCommandOutput,
  error: SpoorError,
): Promise<SpoorError> {
  await readBody(response.Body, { key: "", sizeBytes: 0, signal: AbortSignal.abort() }).catch(
    ignoreAbort,
  );
  return error;
}

/** The read is aborted on purpose; its error says only that. */
function ignoreAbort(): void {}
