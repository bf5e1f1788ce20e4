/** The config section `storage`: the bucket, and limits of its requests. */
import { join, resolve } from "node:path";
import { z } from "zod";
import type { GcsOptions } from "#pkg/objstore/gcs/gcs.ts";
import {
  checkFolderPrefix,
  type RequestConfig,
  type StoreConfig,
  StoreLedger,
} from "#pkg/objstore/objstore.ts";
import type { S3Options } from "#pkg/objstore/s3/s3.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

export interface StorageConfig {
  backend: "fs" | "s3" | "gcs";
  /** Empty: `bucket` in the data folder. */
  path: string;
  prefix: string;
  clockSkewMaxMs: number;
  s3: S3Options;
  gcs: GcsOptions;
  requests: RequestConfig;
  cache: StorageCacheConfig;
  prices: { writePerMillion: number; readPerMillion: number; deletePerMillion: number };
}

export interface StorageCacheConfig {
  memoryBytes: number;
  diskBytes: number;
  /** Empty: `cache` in the data folder. */
  path: string;
}

const positive: z.ZodInt = z.int().positive();
const text: z.ZodDefault<z.ZodString> = z.string().default("");
const tags: z.ZodType<Record<string, string>> = z.record(z.string(), z.string()).default({});

const partBytes: z.ZodType<number> = z
  .int()
  .min(5 * MIB)
  .max(GIB)
  .default(32 * MIB)
  .describe("Blocks above this size are uploaded in parts of this size, bytes");

const s3Config: z.ZodType<S3Options> = z
  .strictObject({
    bucket: text.describe("Name of the bucket; it must exist"),
    endpoint: text.describe("URL of the server; empty: AWS, in the region"),
    region: z.string().min(1).default("us-east-1").describe("Region of the bucket"),
    pathStyle: z
      .boolean()
      .default(false)
      .describe("Uses `endpoint/bucket/key`, not `bucket.endpoint/key`: for MinIO and most others"),
    accessKeyId: text.describe(
      "Empty: the default chain (environment, profile, web identity, container and instance role)",
    ),
    secretAccessKey: text.meta({ secret: true, description: "Secret of `access_key_id`" }),
    sessionToken: text.meta({ secret: true, description: "Token of temporary credentials" }),
    encryption: z
      .enum(["none", "s3", "kms"])
      .default("none")
      .describe("Requested encryption: none (the bucket's default), s3 (SSE-S3), kms (SSE-KMS)"),
    kmsKeyId: text.describe("Key for `encryption: kms`; empty: the bucket's"),
    storageClass: text.describe("Storage class of blocks, not of commits; empty: the bucket's"),
    tags: tags.describe("Tags of every object"),
    partBytes,
    checksums: z
      .enum(["when_supported", "when_required"])
      .default("when_supported")
      .describe(
        "Checksums of requests: `when_required` for servers that refuse unknown checksums " +
          "(objects then have none, and deletes of many keys have Content-MD5)",
      ),
  })
  .describe("A bucket of S3, or of a server that speaks its protocol.");

const gcsConfig: z.ZodType<GcsOptions> = z
  .strictObject({
    bucket: text.describe("Name of the bucket; it must exist"),
    endpoint: text.describe("URL of the server; empty: Google's"),
    projectId: text.describe("Project; empty: the project of the credentials"),
    keyFile: text.describe("Path of a service account's key; empty: the default credentials"),
    anonymous: z
      .boolean()
      .default(false)
      .describe("With `endpoint`: sends no credentials, for emulators"),
    storageClass: text.describe("Storage class of blocks, not of commits; empty: the bucket's"),
    kmsKeyName: text.describe("Cloud KMS key for encryption; empty: the bucket's"),
    tags: tags.describe("Metadata of every object"),
    partBytes,
  })
  .describe("A bucket of Google Cloud Storage.");

const share: z.ZodNumber = z.number().min(0).max(1);

const requestConfig: z.ZodType<RequestConfig> = z
  .strictObject({
    timeoutMs: positive
      .default(15_000)
      .describe("Timeout of one attempt, plus the time for its bytes"),
    bytesPerSecondMin: positive
      .default(512 * KIB)
      .describe("Slowest accepted transfer, bytes per second; adds to the timeout"),
    attemptsMax: positive.max(100).default(6).describe("Most attempts of one request"),
    backoffMinMs: positive.default(100).describe("Pause before the first retry; then doubled"),
    backoffMaxMs: positive.default(10_000).describe("Longest pause, also if the server asks"),
    retryShare: share.default(0.2).describe("Most retries per request, on average, after a burst"),
    retryBurst: positive.default(100).describe("Most retries in a burst after a quiet time"),
    hedgeShare: share
      .default(0.05)
      .describe("Share of ranged reads that are hedged: sent again if they are slower than most"),
    hedgeDelayMinMs: positive.default(50).describe("Least time before a second request is sent"),
    requestsMax: positive.max(1000).default(64).describe("Most concurrent requests"),
    bytesMax: positive.default(256 * MIB).describe("Most bytes of them, where sizes are known"),
    gapBytes: z
      .int()
      .min(0)
      .default(64 * KIB)
      .describe("Ranges of one block with a smaller gap are read together, bytes"),
    requestBytesMax: positive.default(32 * MIB).describe("Most bytes of joined ranges"),
  })
  .describe("Requests to s3 and gcs; the limits are per thread.");

const cacheConfig: z.ZodType<StorageCacheConfig> = z
  .strictObject({
    memoryBytes: z
      .int()
      .min(0)
      .default(64 * MIB)
      .describe("Memory of each thread for cached parts of blocks, bytes; 0: none"),
    diskBytes: z
      .int()
      .min(0)
      .default(4 * GIB)
      .describe("Local disk space for cached parts of blocks, bytes; 0: none"),
    path: text.describe("Folder of the disk cache; empty: `cache` in the data folder"),
  })
  .describe("The cache of parts of blocks that were read from s3 or gcs.");

const price = (value: number, what: string): z.ZodDefault<z.ZodNumber> =>
  z.number().min(0).default(value).describe(`Price of a million ${what}`);

export const storageConfig: z.ZodType<StorageConfig> = z
  .strictObject({
    backend: z
      .enum(["fs", "s3", "gcs"])
      .default("fs")
      .describe("Storage of blocks: a folder, or a bucket of S3 or Google Cloud Storage"),
    path: text.describe("With fs: folder of the blocks; empty: `bucket` in the data folder"),
    prefix: z
      .string()
      .default("")
      .refine(isFolderPrefix, { error: "must be empty or a folder, like `spoor/`" })
      .describe("Folder in the bucket for all objects, like `spoor/`"),
    clockSkewMaxMs: positive
      .default(300_000)
      .describe("Largest accepted difference of the clocks of bucket and machine at the start"),
    s3: s3Config,
    gcs: gcsConfig,
    requests: requestConfig,
    cache: cacheConfig,
    prices: z
      .strictObject({
        writePerMillion: price(5, "writes and lists"),
        readPerMillion: price(0.4, "reads"),
        deletePerMillion: price(0, "deletes"),
      })
      .describe("Prices for the metric `spoor_store_cost_total`, in any currency."),
  })
  .superRefine(({ backend, s3, gcs }, context) => {
    if (backend === "fs" || (backend === "s3" ? s3 : gcs).bucket !== "") return;
    const message = `is required with backend ${backend}`;
    context.addIssue({ code: "custom", path: [backend, "bucket"], message });
  })
  .superRefine(({ s3 }, context) => {
    if ((s3.accessKeyId === "") === (s3.secretAccessKey === "")) return;
    const message = "access_key_id and secret_access_key go together";
    context.addIssue({ code: "custom", path: ["s3", "accessKeyId"], message });
  })
  .describe("The storage of blocks.");

function isFolderPrefix(prefix: string): boolean {
  try {
    checkFolderPrefix(prefix);
    return true;
  } catch {
    // The config has an error message of its own.
    return false;
  }
}

/** Returns the config with which all threads open the bucket; they share the ledger. */
export function storeConfigOf(
  storage: StorageConfig,
  dataDir: string,
  ledger: StoreLedger = new StoreLedger(),
): StoreConfig {
  const { prefix, requests, s3, gcs } = storage;
  const { buffer } = ledger;
  if (storage.backend === "fs") {
    const root = storage.path ? resolve(storage.path) : join(resolve(dataDir), "bucket");
    return { kind: "fs", root, prefix, ledger: buffer };
  }
  const { memoryBytes, diskBytes, path } = storage.cache;
  const dir = path ? resolve(path) : join(resolve(dataDir), "cache");
  const cache = { memoryBytes, diskBytes, dir, used: new SharedArrayBuffer(8) };
  const remote = { prefix, requests, cache, ledger: buffer };
  return storage.backend === "s3" ? { kind: "s3", s3, ...remote } : { kind: "gcs", gcs, ...remote };
}
