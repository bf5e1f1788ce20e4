/** Configs of `spoor serve` for buckets on real servers. */
import type { GcsOptions } from "#pkg/objstore/gcs/gcs-options.ts";
import type { S3Options } from "#pkg/objstore/s3/s3-options.ts";

/** Returns the YAML of the section `storage`; `over` overrides single options. */
export function s3StorageYaml(options: S3Options, over: Partial<S3Options> = {}): string {
  const { bucket, endpoint, region, accessKeyId, secretAccessKey } = { ...options, ...over };
  return `storage:
  backend: s3
  s3:
    bucket: ${bucket}
    endpoint: ${endpoint}
    region: ${region}
    path_style: true
    access_key_id: ${accessKeyId}
    secret_access_key: ${secretAccessKey}
`;
}

export function gcsStorageYaml({ bucket, endpoint, projectId }: GcsOptions): string {
  return `storage:
  backend: gcs
  gcs:
    bucket: ${bucket}
    endpoint: ${endpoint}
    project_id: ${projectId}
    anonymous: true
`;
}
