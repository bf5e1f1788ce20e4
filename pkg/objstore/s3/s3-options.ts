/** Options of a bucket in S3. */
export interface S3Options {
  bucket: string;
  /** URL of the server; empty: the AWS endpoint of the region. */
  endpoint: string;
  region: string;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. */
  pathStyle: boolean;
  /** Both empty: the default chain (environment, profile, instance and web-identity roles). */
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
  encryption: "none" | "s3" | "kms";
  /** Key for encryption "kms"; empty: the bucket's key. */
  kmsKeyId: string;
  /** Storage class of objects that `put` and `assemble` write; empty: the bucket's default. */
  storageClass: string;
  tags: Readonly<Record<string, string>>;
  /** Objects above this size are uploaded in parts of this size. At least 5 MiB. */
  partBytes: number;
  /** "when_required" suits servers that refuse unknown checksums. */
  checksums: "when_supported" | "when_required";
  /** How far this machine's clock is behind the server's, ms. The SDK measures it by default. */
  clockOffsetMs?: number;
}
