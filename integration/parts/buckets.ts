/** New buckets on real servers, created with clients other than Spoor's. */
import { Client } from "minio";
import type { GcsOptions } from "#pkg/objstore/gcs/gcs-options.ts";
import type { S3Options } from "#pkg/objstore/s3/s3-options.ts";
import { s3TestOptions } from "#pkg/objstore/s3/s3.testing.ts";
import type { Part } from "./daemon.ts";
import { type Minio, minioPassword, minioUser } from "./minio.ts";

/** Returns MinIO's own client: an independent view of a bucket. */
export function minioClient({ port }: Pick<Minio, "port">): Client {
  const keys = { accessKey: minioUser, secretKey: minioPassword };
  return new Client({ endPoint: "127.0.0.1", port, useSSL: false, ...keys });
}

/** Creates a bucket in MinIO; returns Spoor's options for it. */
export async function makeS3Bucket(minio: Minio, bucket: string): Promise<S3Options> {
  await minioClient(minio).makeBucket(bucket);
  return s3Options(minio, bucket);
}

export function s3Options({ address }: Pick<Minio, "address">, bucket: string): S3Options {
  return {
    ...s3TestOptions(address),
    bucket,
    region: "us-east-1",
    accessKeyId: minioUser,
    secretAccessKey: minioPassword,
  };
}

/** Creates a bucket in the emulator; returns Spoor's options for it. */
export async function makeGcsBucket({ address }: Part, bucket: string): Promise<GcsOptions> {
  const response = await fetch(`${address}/storage/v1/b?project=spoor-test`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: bucket }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`make bucket ${bucket}: ${response.status} ${text}`);
  return {
    bucket,
    endpoint: address,
    projectId: "spoor-test",
    keyFile: "",
    anonymous: true,
    storageClass: "",
    kmsKeyName: "",
    tags: {},
    partBytes: 5 * 1024 * 1024,
  };
}
