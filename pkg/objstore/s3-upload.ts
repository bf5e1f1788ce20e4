/**
 * Uploads to S3: whole, or in parts, of which the server makes one object at the end. An upload in
 * parts that fails is aborted, because its parts would be kept (and paid for) without being seen.
 */
import { crc32 } from "node:zlib";
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand } from "@aws-sdk/client-s3";
import { CreateMultipartUploadCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { type S3Client, type StorageClass, UploadPartCommand } from "@aws-sdk/client-s3";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { AssembleOptions } from "./objstore.ts";
import { parallelParts, told } from "./pieces.ts";
import type { S3Options } from "./s3-options.ts";

/** Where an upload goes, and how. */
export interface Target extends Pick<AssembleOptions, "onRequest"> {
  client: S3Client;
  options: S3Options;
  key: string;
  signal: AbortSignal | undefined;
}

export interface Upload extends Target {
  bytes: Uint8Array;
}

/** A part that the server has. */
export interface DonePart {
  PartNumber: number;
  ETag: string | undefined;
  ChecksumCRC32?: string;
}

/** What the request of a part says of its place. */
export interface PartPlace {
  Bucket: string;
  Key: string;
  UploadId: string | undefined;
  PartNumber: number;
}

/** Brings part `index`, from 0, to the server. */
export type BringPart = (index: number, place: PartPlace, signal: AbortSignal) => Promise<DonePart>;

/** The protocol's limit. */
export const partsMax = 10_000;
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
  await told(upload, { kind: "assemble", bytes: bytes.length }, async () => {
    await client.send(command, { abortSignal: signal });
  });
}

/** Replaces the object when the last part is there. Throws the SDK's error. */
export async function putInParts(upload: Upload): Promise<void> {
  const { options, bytes } = upload;
  const partBytes = Math.max(options.partBytes, Math.ceil(bytes.length / partsMax));
  const count = Math.ceil(bytes.length / partBytes);
  const hasSums = options.checksums === "when_supported";
  await putParts(upload, { count, hasSums }, async (index, place, signal) => {
    const part = bytes.subarray(index * partBytes, (index + 1) * partBytes);
    return await sendPart(upload, part, { place, signal, hasSums });
  });
}

/**
 * An upload in parts: begins it, brings all parts, some at the same time, and ends it. `hasSums`:
 * every part has a checksum. Throws the SDK's error, or that of `bring`.
 */
export async function putParts(
  target: Target,
  { count, hasSums }: { count: number; hasSums: boolean },
  bring: BringPart,
): Promise<void> {
  const { client, options, key: Key, signal } = target;
  const begin = new CreateMultipartUploadCommand({
    ...objectInput(target, { hasClass: true }),
    Key,
    ...(hasSums ? { ChecksumAlgorithm: "CRC32" } : {}),
  });
  const { UploadId } = await told(
    target,
    { kind: "assemble" },
    async () => await client.send(begin, { abortSignal: signal }),
  );
  const place = { Bucket: options.bucket, Key, UploadId };
  try {
    const Parts = await bringParts(target, { place, count }, bring);
    const end = new CompleteMultipartUploadCommand({ ...place, MultipartUpload: { Parts } });
    await told(target, { kind: "assemble" }, async () => {
      await client.send(end, { abortSignal: signal });
    });
  } catch (error) {
    const abort = new AbortMultipartUploadCommand(place);
    try {
      await told(target, { kind: "delete" }, async () => {
        await client.send(abort, { abortSignal: AbortSignal.timeout(abortTimeoutMs) });
      });
    } catch (cause) {
      // Also after an answer that was lost: then there is an object and no upload any more.
      if (!(cause instanceof Error) || cause.name !== "NoSuchUpload") attach(error, cause);
    }
    throw error;
  }
}

async function bringParts(
  { key, signal }: Target,
  { place, count }: { place: Omit<PartPlace, "PartNumber">; count: number },
  bring: BringPart,
): Promise<DonePart[]> {
  const done: DonePart[] = [];
  const failed = new AbortController();
  const abortSignal = AbortSignal.any(signal ? [signal, failed.signal] : [failed.signal]);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count && !abortSignal.aborted) {
      const index = next++;
      done[index] = await bring(index, { ...place, PartNumber: index + 1 }, abortSignal);
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

/** Sends a part with its checksum; the upload may have been begun without. */
export async function sendPart(
  target: Target,
  Body: Uint8Array,
  { place, signal, hasSums }: { place: PartPlace; signal: AbortSignal; hasSums: boolean },
): Promise<DonePart> {
  const sum = checksumOf(target, Body);
  const input = { ...place, ...sum, Body, ContentLength: Body.length };
  const { ETag } = await told(
    target,
    { kind: "assemble", bytes: Body.length },
    async () => await target.client.send(new UploadPartCommand(input), { abortSignal: signal }),
  );
  return { PartNumber: place.PartNumber, ETag, ...(hasSums ? sum : {}) };
}

/** What every object of this store is written with. */
function objectInput(
  { options }: Target,
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
function checksumOf({ options }: Target, bytes: Uint8Array): { ChecksumCRC32?: string } {
  if (options.checksums === "when_required") return {};
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(bytes));
  return { ChecksumCRC32: sum.toString("base64") };
}

/** Keeps a second error beside the one that is thrown. */
function attach(error: unknown, second: unknown): void {
  if (error instanceof Error) error.cause ??= second;
}
