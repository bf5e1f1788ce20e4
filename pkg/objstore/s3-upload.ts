/**
 * Uploads to S3: whole, or in parts, of which the server makes one object at the end. An upload in
 * parts that fails is aborted, because its parts would be kept (and paid for) without being seen.
 */
import { crc32 } from "node:zlib";
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand } from "@aws-sdk/client-s3";
import { CreateMultipartUploadCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { type S3Client, type StorageClass, UploadPartCommand } from "@aws-sdk/client-s3";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { S3Options } from "./s3-options.ts";

export interface Upload {
  client: S3Client;
  options: S3Options;
  key: string;
  bytes: Uint8Array;
  signal: AbortSignal | undefined;
}

interface DonePart {
  PartNumber: number;
  ETag: string | undefined;
  ChecksumCRC32?: string;
}

/** Parts that are on their way at the same time. */
const parallelParts = 4;
/** The protocol's limit. */
const partsMax = 10_000;
const abortTimeoutMs = 10_000;

/** One PUT. Throws the SDK's error; status 412 if `isConditional` and the key is taken. */
export async function putWhole(
  upload: Upload,
  { isConditional }: { isConditional: boolean },
): Promise<void> {
  const { client, key, bytes, signal } = upload;
  const command = new PutObjectCommand({
    ...objectInput(upload, { hasClass: !isConditional }),
    Key: key,
    Body: bytes,
    ContentLength: bytes.length,
    ...checksumOf(upload, bytes),
    ...(isConditional ? { IfNoneMatch: "*" } : {}),
  });
  await client.send(command, { abortSignal: signal });
}

/** Replaces the object when the last part is there. Throws the SDK's error. */
export async function putInParts(upload: Upload): Promise<void> {
  const { client, options, key, signal } = upload;
  const Bucket = options.bucket;
  const hasChecksum = options.checksums === "when_supported";
  const begin = new CreateMultipartUploadCommand({
    ...objectInput(upload, { hasClass: true }),
    Key: key,
    ...(hasChecksum ? { ChecksumAlgorithm: "CRC32" } : {}),
  });
  const { UploadId } = await client.send(begin, { abortSignal: signal });
  try {
    const Parts = await putParts(upload, UploadId);
    const command = new CompleteMultipartUploadCommand({
      Bucket,
      Key: key,
      UploadId,
      MultipartUpload: { Parts },
    });
    await client.send(command, { abortSignal: signal });
  } catch (error) {
    const command = new AbortMultipartUploadCommand({ Bucket, Key: key, UploadId });
    try {
      await client.send(command, { abortSignal: AbortSignal.timeout(abortTimeoutMs) });
    } catch (cause) {
      // Also after an answer that was lost: then there is an object and no upload any more.
      if (!(cause instanceof Error) || cause.name !== "NoSuchUpload") attach(error, cause);
    }
    throw error;
  }
}

async function putParts(upload: Upload, UploadId: string | undefined): Promise<DonePart[]> {
  const { client, options, key, bytes, signal } = upload;
  const partBytes = Math.max(options.partBytes, Math.ceil(bytes.length / partsMax));
  const count = Math.ceil(bytes.length / partBytes);
  const done: DonePart[] = [];
  const failed = new AbortController();
  const abortSignal = AbortSignal.any(signal ? [signal, failed.signal] : [failed.signal]);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count && !abortSignal.aborted) {
      const index = next++;
      const Body = bytes.subarray(index * partBytes, (index + 1) * partBytes);
      const part = { PartNumber: index + 1, ...checksumOf(upload, Body) };
      const place = { Bucket: options.bucket, Key: key, UploadId };
      const input = { ...place, ...part, Body, ContentLength: Body.length };
      const { ETag } = await client.send(new UploadPartCommand(input), { abortSignal });
      done[index] = { ...part, ETag };
    }
  };
  const lanes = Array.from({ length: parallelParts }, lane);
  try {
    await Promise.all(lanes);
  } catch (error) {
    failed.abort();
    await Promise.allSettled(lanes);
    throw error;
  }
  if (done.filter(Boolean).length === count) return done;
  throw new SpoorError("Canceled", `write object ${key}: aborted`);
}

/** What every object of this store is written with. */
function objectInput(
  { options }: Upload,
  { hasClass }: { hasClass: boolean },
): {
  Bucket: string;
  Tagging?: string;
  StorageClass?: StorageClass;
  ServerSideEncryption?: "AES256" | "aws:kms";
  SSEKMSKeyId?: string;
} {
  const { bucket, encryption, kmsKeyId, storageClass, tags } = options;
  const tagging = new URLSearchParams(tags).toString();
  return {
    Bucket: bucket,
    ...(tagging === "" ? {} : { Tagging: tagging }),
    ...(hasClass && storageClass !== "" ? { StorageClass: storageClass as StorageClass } : {}),
    ...(encryption === "s3" ? { ServerSideEncryption: "AES256" as const } : {}),
    ...(encryption === "kms" ? { ServerSideEncryption: "aws:kms" as const } : {}),
    ...(encryption === "kms" && kmsKeyId !== "" ? { SSEKMSKeyId: kmsKeyId } : {}),
  };
}

/** Computed here, by the native CRC-32: bytes that change on their way are refused. */
function checksumOf({ options }: Upload, bytes: Uint8Array): { ChecksumCRC32?: string } {
  if (options.checksums === "when_required") return {};
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(bytes));
  return { ChecksumCRC32: sum.toString("base64") };
}

/** Keeps a second error beside the one that is thrown. */
function attach(error: unknown, second: unknown): void {
  if (error instanceof Error) error.cause ??= second;
}
