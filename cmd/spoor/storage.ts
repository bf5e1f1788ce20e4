/** The section `storage` of the config: which bucket, and how it is asked. */
import { join, resolve } from "node:path";
import { z } from "zod";
import type { GcsOptions } from "#pkg/objstore/gcs-options.ts";
import { checkFolderPrefix } from "#pkg/objstore/keys.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import type { S3Options } from "#pkg/objstore/s3-options.ts";
import type { RequestConfig, StoreConfig } from "#pkg/objstore/store-config.ts";

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
  .describe("Blocks above this size go up in parts of this size, bytes");

const s3Config: z.ZodType<S3Options> = z
  .strictObject({
    bucket: text.describe("Name of the bucket; it must exist"),
    endpoint: text.describe("URL of the server; empty: AWS, in the region"),
    region: z.string().min(1).default("us-east-1").describe("Region of the bucket"),
    pathStyle: z
      .boolean()
      .default(false)
      .describe("Asks `endpoint/bucket/key`, not `bucket.endpoint/key`: MinIO and most others"),
    accessKeyId: text.describe(
      "Empty: the default chain (environment, profile, web identity, container and instance role)",
    ),
    secretAccessKey: text.meta({ secret: true, description: "Secret of `access_key_id`" }),
    sessionToken: text.meta({ secret: true, description: "Of temporary credentials" }),
    encryption: z
      .enum(["none", "s3", "kms"])
      .default("none")
      .describe("What is asked of the server: nothing (the bucket's own), SSE-S3, SSE-KMS"),
    kmsKeyId: text.describe("Key for `encryption: kms`; empty: the bucket's"),
    storageClass: text.describe("Class of the blocks (commits keep the bucket's); empty: its own"),
    tags: tags.describe("Tags of every object"),
    partBytes,
    checksums: z
      .enum(["when_supported", "when_required"])
      .default("when_supported")
      .describe(
        "Checksums of requests: `when_required` for servers that refuse those they do not know " +
          "(then no object has one, and deletes of many carry Content-MD5)",
      ),
  })
  .describe("A bucket of S3, or of a server that speaks its protocol.");

const gcsConfig: z.ZodType<GcsOptions> = z
  .strictObject({
    bucket: text.describe("Name of the bucket; it must exist"),
    endpoint: text.describe("URL of the server; empty: Google's"),
    projectId: text.describe("Empty: that of the credentials"),
    keyFile: text.describe("Path of a service account's key; empty: the default credentials"),
    anonymous: z
      .boolean()
      .default(false)
      .describe("With `endpoint`: sends no credentials, for emulators"),
    storageClass: text.describe("Class of the blocks (commits keep the bucket's); empty: its own"),
    kmsKeyName: text.describe("Key of Cloud KMS to encrypt with; empty: the bucket's"),
    tags: tags.describe("Metadata of every object"),
    partBytes,
  })
  .describe("A bucket of Google Cloud Storage.");

const share: z.ZodNumber = z.number().min(0).max(1);

const requestConfig: z.ZodType<RequestConfig> = z
  .strictObject({
    timeoutMs: positive.default(15_000).describe("Time of one try, besides that of its bytes"),
    bytesPerSecondMin: positive
      .default(512 * KIB)
      .describe("Slowest transfer that is waited for, bytes per second"),
    attemptsMax: positive.max(100).default(6).describe("Tries of one request, the first included"),
    backoffMinMs: positive.default(100).describe("Pause before the second try; doubled each time"),
    backoffMaxMs: positive.default(10_000).describe("Longest pause, also one the server asks for"),
    retryShare: share
      .default(0.2)
      .describe("Retries per request, on average, once a burst is over"),
    retryBurst: positive.default(100).describe("Retries at once after a quiet time"),
    hedgeShare: share
      .default(0.05)
      .describe("Ranged reads that are asked a second time when they take longer than most"),
    hedgeDelayMinMs: positive.default(50).describe("Not before this time"),
    requestsMax: positive.max(1000).default(64).describe("Requests at the same time"),
    bytesMax: positive.default(256 * MIB).describe("Bytes of them, where the size is known"),
    gapBytes: z
      .int()
      .min(0)
      .default(64 * KIB)
      .describe("Ranges of one block that are closer are read together, bytes"),
    requestBytesMax: positive.default(32 * MIB).describe("Largest request that joining may make"),
  })
  .describe("How s3 and gcs are asked; the bounds are those of each thread.");

const cacheConfig: z.ZodType<StorageCacheConfig> = z
  .strictObject({
    memoryBytes: z
      .int()
      .min(0)
      .default(64 * MIB)
      .describe("Memory of each thread for parts of blocks, bytes; 0: none"),
    diskBytes: z
      .int()
      .min(0)
      .default(4 * GIB)
      .describe("Local disk for parts of blocks, bytes; 0: none"),
    path: text.describe("Folder of the disk cache; empty: `cache` in the data folder"),
  })
  .describe("What is kept of blocks that were read from s3 or gcs.");

const price = (value: number, what: string): z.ZodDefault<z.ZodNumber> =>
  z.number().min(0).default(value).describe(`Price of a million ${what}`);

export const storageConfig: z.ZodType<StorageConfig> = z
  .strictObject({
    backend: z
      .enum(["fs", "s3", "gcs"])
      .default("fs")
      .describe("Where blocks are kept: a folder, or a bucket of S3 or Google Cloud Storage"),
    path: text.describe("With fs: folder of the blocks; if empty, `bucket` in the data folder"),
    prefix: z
      .string()
      .default("")
      .refine(isFolderPrefix, { error: "must be empty or a folder, like `spoor/`" })
      .describe("Folder in the bucket below which everything is kept, like `spoor/`"),
    clockSkewMaxMs: positive
      .default(300_000)
      .describe("How far the clocks of bucket and machine may be apart at the start"),
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
      .describe("For the metric `spoor_store_cost_total`, in the currency of your price list."),
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
  .describe("The bucket of blocks.");

function isFolderPrefix(prefix: string): boolean {
  try {
    checkFolderPrefix(prefix);
    return true;
  } catch {
    // The message of the config says it in its own words.
    return false;
  }
}

/** How all threads of a process with this config open its bucket, counting into one ledger. */
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
