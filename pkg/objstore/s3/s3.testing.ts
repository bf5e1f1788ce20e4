/** Test support: options for a test's own server that speaks the S3 protocol. */
import type { S3Options } from "./s3-options.ts";

export function s3TestOptions(endpoint: string): S3Options {
  return {
    bucket: "b",
    endpoint,
    region: "eu-west-1",
    pathStyle: true,
    accessKeyId: "id",
    secretAccessKey: "secret",
    sessionToken: "",
    encryption: "none",
    kmsKeyId: "",
    storageClass: "",
    tags: {},
    partBytes: 5 * 1024 * 1024,
    checksums: "when_supported",
  };
}
