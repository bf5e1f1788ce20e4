/** How a bucket of S3 is reached and written. */
export interface S3Options {
  bucket: string;
  /** URL of the server; empty: AWS, in the region. */
  endpoint: string;
  region: string;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. */
  pathStyle: boolean;
  /** Both empty: the default chain (environment, profile, instance and web-identity roles). */
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
  encryption: "none" | "s3" | "kms";
  /** With `kms`; empty: the bucket's key. */
  kmsKeyId: string;
  /** Of objects that `put` writes; empty: the bucket's. */
  storageClass: string;
  tags: Readonly<Record<string, string>>;
  /** Objects above this many bytes go up in parts of this size. 5 MiB at least. */
  partBytes: number;
  /** "when_required" for servers that refuse checksums which they do not know. */
  checksums: "when_supported" | "when_required";
  /** Milliseconds that this machine's clock is behind the server's. Found out, unless given. */
  clockOffsetMs?: number;
}
