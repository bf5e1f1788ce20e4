/**
 * Uploads to S3: in one PUT, or in parts that the server joins at the end (multipart upload). A
 * failed multipart upload is aborted, because its invisible parts would be stored and billed.
 */
import { crc32 } from "node:zlib";
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand } from "@aws-sdk/client-s3";
import { CreateMultipartUploadCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { type S3Client, type StorageClass, UploadPartCommand } from "@aws-sdk/client-s3";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { AssembleOptions } from "#pkg/objstore/object-store.ts";
import { parallelParts, reportRequest } from "#pkg/objstore/pieces.ts";
import type { S3Options } from "./s3-options.ts";

/** Destination and options of an upload. */
export interface Target extends Pick<AssembleOptions, "onRequest"> {
  client: S3Client;
  options: S3Options;
  key: string;
  signal: AbortSignal | undefined;
}

export interface Upload extends Target {
  bytes: Uint8Array;
}

/** A part that the server has stored. */
export interface DonePart {
  PartNumber: number;
  ETag: string | undefined;
  ChecksumCRC32?: string;
}

/** Fields that address a part in a request. */
export interface PartAddress {
  Bucket: string;
  Key: string;
  UploadId: string | undefined;
  PartNumber: number;
}

/** Uploads or copies part `index`, from 0. */
export type TransferPart = (
  index: number,
  address: PartAddress,
  signal: AbortSignal,
) => Promise<DonePart>;

/** Maximum parts of an upload; the protocol's limit. */
export const partsMax = 10_000;
const abortTimeoutMs = 10_000;

/** Writes with one PUT. Throws the SDK's error; status 412 if conditional and the key exists. */
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
  await reportRequest(upload, { kind: "assemble", bytes: bytes.length }, async () => {
    await client.send(command, { abortSignal: signal });
  });
}

/** Uploads in parts; the object is replaced when all are stored. Throws the SDK's error. */
export async function putInParts(upload: Upload): Promise<void> {
  const { options, bytes } = upload;
  const partBytes = Math.max(options.partBytes, Math.ceil(bytes.length / partsMax));
  const count = Math.ceil(bytes.length / partBytes);
  const hasSums = options.checksums === "when_supported";
  await putParts(upload, { count, hasSums }, async (index, address, signal) => {
    const part = bytes.subarray(index * partBytes, (index + 1) * partBytes);
    return await sendPart(upload, part, { address, signal, hasSums });
  });
}

/**
 * Runs a multipart upload: creates it, transfers all parts, some in parallel, and completes it.
 * `hasSums`: every part has a checksum. Throws the SDK's error, or the error of `transfer`.
 */
export async function putParts(
  target: Target,
  { count, hasSums }: { count: number; hasSums: boolean },
  transfer: TransferPart,
): Promise<void> {
  const { client, options, key: Key, signal } = target;
  const begin = new CreateMultipartUploadCommand({
    ...objectInput(target, { hasClass: true }),
    Key,
    ...(hasSums ? { ChecksumAlgorithm: "CRC32" } : {}),
  });
  const { UploadId } = await reportRequest(
    target,
    { kind: "assemble" },
    async () => await client.send(begin, { abortSignal: signal }),
  );
  const address = { Bucket: options.bucket, Key, UploadId };
  try {
    const Parts = await transferParts(target, { address, count }, transfer);
    const end = new CompleteMultipartUploadCommand({ ...address, MultipartUpload: { Parts } });
    await reportRequest(target, { kind: "assemble" }, async () => {
      await client.send(end, { abortSignal: signal });
    });
  } catch (error) {
    const abort = new AbortMultipartUploadCommand(address);
    try {
      await reportRequest(target, { kind: "delete" }, async () => {
        await client.send(abort, { abortSignal: AbortSignal.timeout(abortTimeoutMs) });
      });
    } catch (cause) {
      // If the response of the completion was lost, the object exists and the upload does not.
      if (!(cause instanceof Error) || cause.name !== "NoSuchUpload") attach(error, cause);
    }
    throw error;
  }
}

async function transferParts(
  { key, signal }: Target,
  { address, count }: { address: Omit<PartAddress, "PartNumber">; count: number },
  transfer: TransferPart,
): Promise<DonePart[]> {
  const done: DonePart[] = [];
  const failed = new AbortController();
  const abortSignal = AbortSignal.any(signal ? [signal, failed.signal] : [failed.signal]);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count && !abortSignal.aborted) {
      const index = next++;
      done[index] = await transfer(index, { ...address, PartNumber: index + 1 }, abortSignal);
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

/** Sends a part with its checksum, also if the upload as a whole has none (`hasSums` false). */
export async function sendPart(
  target: Target,
  Body: Uint8Array,
  { address, signal, hasSums }: { address: PartAddress; signal: AbortSignal; hasSums: boolean },
): Promise<DonePart> {
  const sum = checksumOf(target, Body);
  const input = { ...address, ...sum, Body, ContentLength: Body.length };
  const { ETag } = await reportRequest(
    target,
    { kind: "assemble", bytes: Body.length },
    async () => await target.client.send(new UploadPartCommand(input), { abortSignal: signal }),
  );
  return { PartNumber: address.PartNumber, ETag, ...(hasSums ? sum : {}) };
}

/** Returns the fields that all writes of this store share. */
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

/** Returns the CRC-32, computed natively; the server refuses bytes that changed in transit. */
function checksumOf({ options }: Target, bytes: Uint8Array): { ChecksumCRC32?: string } {
  if (options.checksums === "when_required") return {};
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(bytes));
  return { ChecksumCRC32: sum.toString("base64") };
}

/** Attaches a second error, as its cause, to the error that is thrown. */
function attach(error: unknown, second: unknown): void {
  if (error instanceof Error) error.cause ??= second;
}
