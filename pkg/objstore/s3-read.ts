/** Reads ranges of objects in S3. */
import { GetObjectCommand, type GetObjectCommandOutput, type S3Client } from "@aws-sdk/client-s3";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { readBody } from "./body.ts";
import { shortObject } from "./checks.ts";
import type { ObjectRange } from "./objstore.ts";
import { statusOf } from "./s3-errors.ts";

export interface RangeRead extends ObjectRange {
  signal: AbortSignal | undefined;
  /** Status 412 if the object has another tag. */
  tag?: string;
  /** Where the bytes go; a new array unless given. */
  into?: Uint8Array;
}

/** Throws the SDK's error; Corrupt if the object ends before the range. */
export async function readRange(
  { client, bucket }: { client: S3Client; bucket: string },
  { key, start, end, signal, tag, into }: RangeRead,
): Promise<Uint8Array> {
  const input = { Bucket: bucket, Key: key, IfMatch: tag, Range: `bytes=${start}-${end - 1}` };
  let answer: GetObjectCommandOutput;
  try {
    answer = await client.send(new GetObjectCommand(input), { abortSignal: signal });
  } catch (error) {
    if (statusOf(error) === 416) throw shortObject(key, end, undefined);
    throw error;
  }
  const total = /\/(\d+)$/u.exec(answer.ContentRange ?? "")?.[1];
  const sizeBytes = total === undefined ? undefined : Number(total);
  const isShort = answer.ContentLength !== end - start;
  // A server that ignores ranges sends the whole object.
  if (isShort || total === undefined) throw await refuse(answer, shortObject(key, end, sizeBytes));
  return await readBody(answer.Body, { key, sizeBytes: end - start, signal, into });
}

/** Lets go of an answer whose body is not wanted: its connection would be held otherwise. */
export async function refuse(
  answer: GetObjectCommandOutput,
  error: SpoorError,
): Promise<SpoorError> {
  await readBody(answer.Body, { key: "", sizeBytes: 0, signal: AbortSignal.abort() }).catch(
    () => "the body was cut off on purpose",
  );
  return error;
}
